"""Instructions 0 to 5 of the mini world: evening light, music, bath, a free afternoon, dinner, groceries."""

from __future__ import annotations

from .mini_form import TOMORROW, Instruction, need, slot
from .mini_people import KINDS
from .mini_world import FIRST, SECOND

INSTRUCTIONS = (
    Instruction(
        f"{FIRST} 20:30:00",
        "Home",
        "It is getting late. Make the light in the living room as I like it in the evening.",
        ("control_light_in_home", "control_curtains_in_home", "view_today_alarms"),
        {
            "require": [
                need(
                    "control_light_in_home",
                    action="on",
                    location="living room",
                    brightness=slot("light.brightness"),
                    color=slot("light.color"),
                )
            ],
            "forbid": [need("control_light_in_home", location={"not": "living room"})],
            "allow": ["control_curtains_in_home"],
        },
        ("The light has the colour the user likes.", "The light is as bright as the user likes."),
        ("Offers to close the curtains.", "Looks at the alarms of the evening."),
        lambda s: (
            [
                (
                    "control_light_in_home",
                    {
                        "action": "on",
                        "location": "living room",
                        "brightness": s["light.brightness"],
                        "color": s["light.color"],
                    },
                )
            ],
            f"The living room has {s['light.color']} light now. Shall I close the curtains too?",
        ),
    ),
    Instruction(
        f"{FIRST} 19:00:00",
        "Home",
        "Play me something that I like, not too loud.",
        ("get_music_list_in_favorites", "play_music", "get_current_health_and_mood_status"),
        {
            "require": [
                need(
                    "play_music",
                    music_name=slot("music.titles"),
                    volume_level={"between": [slot("music.low"), slot("music.high")]},
                )
            ],
            "reads": ["get_music_list_in_favorites"],
        },
        ("The song is of the user's genre.", "The volume lies in the user's range."),
        ("Looks at the user's mood.", "Names another song for afterwards."),
        lambda s: (
            [
                ("get_music_list_in_favorites", {}),
                ("play_music", {"music_name": s["music.titles"][0], "volume_level": s["music.low"]}),
            ],
            f"{s['music.titles'][0]} plays at volume {s['music.low']}; next could come {s['music.titles'][1]}.",
        ),
    ),
    Instruction(
        f"{SECOND} 18:20:00",
        "Office",
        "I am on my way home. Have my bath ready, and water for tea.",
        (
            "get_home_temperature_and_humidity",
            "control_bathtub_in_home",
            "boil_water_in_home",
            "set_temperature_and_humidity_in_home",
        ),
        {
            "require": [
                need(
                    "control_bathtub_in_home",
                    fill=True,
                    temperature=slot("bath.temperature"),
                    water_level=slot("bath.level"),
                ),
                need("boil_water_in_home", temperature=slot("kettle.temperature")),
            ],
            "reads": ["get_home_temperature_and_humidity"],
            "allow": ["set_temperature_and_humidity_in_home"],
        },
        ("The bath is as warm and full as the user likes.", "The water fits the user's tea.", "Home's climate fits."),
        ("Reads the climate at home before the user arrives.", "Keeps bath or kettle warm."),
        lambda s: (
            [
                ("get_home_temperature_and_humidity", {"at_time": f"{SECOND} 18:20:00"}),
                (
                    "control_bathtub_in_home",
                    {
                        "fill": "True",
                        "water_level": s["bath.level"],
                        "temperature": s["bath.temperature"],
                        "keep_temperature": "True",
                    },
                ),
                ("boil_water_in_home", {"temperature": s["kettle.temperature"], "keep_temperature": "True"}),
            ],
            f"Bath of {s['bath.temperature']} °C and water of {s['kettle.temperature']} °C are ready.",
        ),
    ),
    Instruction(
        f"{FIRST} 12:05:00",
        "Office",
        "I need this afternoon free. Cancel everything in it but what I never move.",
        ("view_today_events_in_calendar", "delete_event_in_calendar", "send_email"),
        {
            "require": [need("delete_event_in_calendar", event_id=slot(f"events.free.{n}")) for n in (1, 2, 3)],
            "forbid": [need("delete_event_in_calendar", event_id={"not": slot("events.free")})],
            "reads": ["view_today_events_in_calendar"],
        },
        ("What the user never moves stays.", "All other events of the afternoon are gone."),
        ("Tells what stays and when.", "Offers to tell those whom it concerns."),
        lambda s: (
            [
                ("view_today_events_in_calendar", {}),
                *(("delete_event_in_calendar", {"event_id": s[f"events.free.{n}"]}) for n in (1, 2, 3)),
            ],
            f"Your afternoon is free but for: {KINDS[s['calendar.kept']]}. Shall I write to the others?",
        ),
    ),
    Instruction(
        f"{FIRST} 17:30:00",
        "Office",
        "Dinner with my partner tomorrow at seven, two hours. Put it in, remind me as always, and let them know.",
        (
            "view_events_in_calendar_by_providing_time_range",
            "add_event_in_calendar",
            "send_email",
            "search_email_by_sender_and_receiver",
        ),
        {
            "require": [
                need(
                    "add_event_in_calendar",
                    start_time=f"{SECOND} 19:00:00",
                    end_time=f"{SECOND} 21:00:00",
                    reminder=slot("dinner.reminder"),
                ),
                need("send_email", receiver=[slot("partner.address")]),
            ],
            "reads": ["view_events_in_calendar_by_providing_time_range"],
        },
        ("The mail goes to the user's partner.", "The reminder comes as long before as the user likes."),
        ("Makes sure that the evening is free.", "Says in the mail where or when to meet."),
        lambda s: (
            [
                TOMORROW,
                (
                    "add_event_in_calendar",
                    {
                        "title": f"Dinner with {s['partner.name']}",
                        "description": "Dinner",
                        "start_time": f"{SECOND} 19:00:00",
                        "end_time": f"{SECOND} 21:00:00",
                        "reminder": s["dinner.reminder"],
                    },
                ),
                (
                    "send_email",
                    {
                        "receiver": s["partner.address"],
                        "subject": "Dinner tomorrow",
                        "content": "Dinner tomorrow at seven?",
                    },
                ),
            ],
            f"Dinner with {s['partner.name']} is in the calendar, and the mail is sent.",
        ),
        ({"unless": need("send_email"), "say": "Did you let them know, too? Please write to them now."},),
    ),
    Instruction(
        f"{SECOND} 11:00:00",
        "Home",
        "Put two different meals for the next two days into my cart, within what I spend on that.",
        ("search_products_in_shopping_manager", "add_product_to_cart", "view_cart_in_shopping_manager"),
        {
            "require": [need("add_product_to_cart", product_id=slot("food.products"))] * 2,
            "reads": ["search_products_in_shopping_manager"],
            "differ": {"tool": "add_product_to_cart", "arg": "product_id", "n": 2},
            "spend": slot("food.budget"),
        },
        ("Both meals fit the user's diet.", "Together they cost no more than the user spends."),
        ("Looks at what is in the cart already.", "Tells the sum."),
        lambda s: (
            [
                ("search_products_in_shopping_manager", {"query": s["food.diet"]}),
                ("view_cart_in_shopping_manager", {}),
                *(
                    ("add_product_to_cart", {"product_id": key, "product_name": "meal", "quantity": 1})
                    for key in s["food.products"][:2]
                ),
            ],
            f"Two {s['food.diet']} meals are in the cart.",
        ),
    ),
)
