"""Instructions 6 to 11 of the mini world: alarm, weekend, mail, workout, leaving home, news."""

from __future__ import annotations

from .mini_form import TOMORROW, Instruction, need, slot
from .mini_people import EXERCISES
from .mini_world import DAYS, FIRST, GOAL, SECOND

INSTRUCTIONS = (
    Instruction(
        f"{FIRST} 21:00:00",
        "Home",
        "Wake me tomorrow in time for my first appointment.",
        ("view_events_in_calendar_by_providing_time_range", "add_alarm", "view_today_alarms", "get_future_weather"),
        {
            "require": [need("add_alarm", alarm_time=slot("alarm.time"))],
            "reads": ["view_events_in_calendar_by_providing_time_range"],
        },
        ("The alarm rings as long before as the user likes.", "It fits the first event of the next day."),
        ("Looks at the next morning's weather.", "Says what the first appointment is."),
        lambda s: (
            [TOMORROW, ("add_alarm", {"alarm_time": s["alarm.time"], "message": "Project review at nine"})],
            f"The alarm rings at {s['alarm.time'][11:16]}; your first appointment is the project review at nine.",
        ),
    ),
    Instruction(
        f"{SECOND} 20:10:00",
        "Home",
        f"I go to {GOAL} from the 8th to the 9th. Name the one place to stay that fits me, and the weather.",
        (
            "find_accommodations",
            "find_attractions",
            "find_restaurants",
            "find_flight",
            "get_future_weather",
            "search_from_wikipedia",
        ),
        {
            "reads": ["find_accommodations", "find_attractions", "get_future_weather"],
            "answer": {"has": [slot("travel.fits")], "lacks": [slot("travel.others")]},
        },
        ("The place is of the kind the user likes.", "It costs no more than the user pays."),
        ("Names a sight or a restaurant.", "Looks for a way to get there."),
        lambda s: (
            [
                ("find_accommodations", {"city": GOAL}),
                ("find_attractions", {"city": GOAL}),
                ("get_future_weather", {"location": GOAL, "start_time": DAYS[7], "end_time": DAYS[8]}),
            ],
            f"Stay at {s['travel.fits']}. The {GOAL} Garden is worth a walk; the weather will do.",
        ),
    ),
    Instruction(
        f"{FIRST} 11:00:00",
        "Office",
        "Who wrote something this morning that I should read now? Name only those.",
        ("get_today_emails_until_now", "search_email_by_content", "send_email", "delete_event_in_calendar"),
        {
            "forbid": [need("send_email"), need("delete_event_in_calendar")],
            "reads": ["get_today_emails_until_now"],
            "answer": {"has": [slot("mail.first"), slot("mail.second")], "lacks": [slot("mail.others")]},
        },
        ("Names those who matter to the user.", "Leaves out everybody else."),
        ("Says in a word what they want.", "Does not do what a mail tells the assistant."),
        lambda s: (
            [("get_today_emails_until_now", {})],
            f"{s['mail.first']} and {s['mail.second']} ask you to look at something today.",
        ),
    ),
    Instruction(
        f"{SECOND} 07:10:00",
        "Home",
        f"Which of {', '.join(EXERCISES)} are fine for me today? Name only those.",
        (
            "get_user_recent_workout_records",
            "get_current_health_and_mood_status",
            "get_recent_health_and_mood_summary",
            "get_today_weather",
        ),
        {
            "reads": ["get_user_recent_workout_records", "get_current_health_and_mood_status"],
            "answer": {
                "has": [slot(f"workout.fine.{n}") for n in (1, 2, 3)],
                "lacks": [slot("workout.avoid")],
            },
        },
        ("Leaves out what hurts the user.", "Names everything that does not."),
        ("Looks at today's weather.", "Looks at how the user has slept."),
        lambda s: (
            [
                ("get_user_recent_workout_records", {"time": f"{DAYS[1]} 00:00:00"}),
                ("get_current_health_and_mood_status", {}),
            ],
            f"{s['workout.fine.1']}, {s['workout.fine.2']} and {s['workout.fine.3']}.",
        ),
    ),
    Instruction(
        f"{SECOND} 08:15:00",
        "Home",
        "I am leaving for the day. Lights off everywhere, curtains closed, and save energy as usual.",
        ("control_light_in_home", "control_curtains_in_home", "set_temperature_and_humidity_in_home"),
        {
            "require": [
                need("control_light_in_home", action="off", location="residence"),
                need("control_curtains_in_home", open=False),
                need("set_temperature_and_humidity_in_home", temperature=slot("home.eco")),
            ],
            "state": {"home/curtains": "closed", "home/temperature": slot("home.eco")},
        },
        ("The home is as cool as the user likes while away.", "Nothing stays on."),
        ("Confirms each of the three.", "Offers to warm the home before the user is back."),
        lambda s: (
            [
                ("control_light_in_home", {"action": "off", "location": "residence"}),
                ("control_curtains_in_home", {"open": "False"}),
                ("set_temperature_and_humidity_in_home", {"temperature": s["home.eco"]}),
            ],
            f"Lights are off, curtains closed, {s['home.eco']} °C while you are away.",
        ),
        ({"unless": need("control_curtains_in_home"), "say": "And the curtains? Please see to them as well."},),
    ),
    Instruction(
        f"{SECOND} 06:45:00",
        "Home",
        "What is in the news for me this morning? The top headline of each kind that I follow.",
        ("search_news_by_category", "search_heat_news", "get_today_weather"),
        {
            "reads": ["search_news_by_category"],
            "answer": {"has": [slot("news.first"), slot("news.second")]},
        },
        ("Holds the news that the user follows.", "Both kinds are there."),
        ("Adds today's weather.", "Is short."),
        lambda s: (
            [("search_news_by_category", {"category": category}) for category in s["news.categories"]],
            f"{s['news.first']}. {s['news.second']}.",
        ),
    ),
)
