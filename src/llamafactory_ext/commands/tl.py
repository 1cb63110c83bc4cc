"""`llamafactory-ext tl ...`: the verbs of TL-Training."""

from pathlib import Path


class Tl:
    """TL-Training: what goes beyond `llamafactory-cli train`."""

    def export_verl(self, yaml: str, out: str = "verl_data") -> None:
        """Write the queries of a `stage: tl_ppo` YAML, and its reward or environment, in verl's format.

        Args:
            yaml: the YAML file.
            out: folder for train.parquet, test.parquet, and tool_call_reward.py or agent_loop.yaml (tl_environment).
        """
        from ..tl.ppo.verl_export import export_verl

        exported = export_verl(Path(str(yaml)), Path(str(out)))
        for line in exported.left_out:
            print(f"Left out: {line}")
        for file in exported.files:
            count = exported.rows.get(file.name)
            print(file if count is None else f"{file}: {count:,} rows")
        if exported.other_prompts:
            print(
                f"The tokenizer's chat template renders {exported.other_prompts:,} prompts in another way than the "
                "template of the YAML; give verl the model that LLaMA-Factory exported, whose chat template fits."
            )
