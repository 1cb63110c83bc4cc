"""Who answers the queries of PPO: the policy in this process, or a server."""
