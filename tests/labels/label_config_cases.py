"""Label configs of Label Studio's audio editor, each with an annotation as the editor writes it.

Each case says what is learned of the annotation, and what is predicted where the first label of each control
sounds from 1 to 3 s. Configs are those of Label Studio's templates and documentation, of reports from the
field and of public projects.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Item = dict[str, Any]
Spans = list[tuple[float, float, set[str]]]


@dataclass(frozen=True)
class Case:
    """A label config and an annotation.

    ``regions``, ``tags``: what is read of the annotation, by control, for regions onset, offset and labels;
    a region's labels with ``-`` are denied there, and ``?`` leaves the others open. ``predicted``: values by
    ``from_name`` and ``to_name``, without times. ``ignored``: controls that are reported as not learned.
    """

    name: str
    config: str
    result: list[Item]
    regions: dict[str, Spans] = field(default_factory=dict)
    tags: dict[str, set[str]] = field(default_factory=dict)
    predicted: dict[tuple[str, str], Item] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=lambda: {"audio": "/data/upload/1/a.wav"})
    open_tags: dict[str, set[str]] = field(default_factory=dict)
    hidden: set[str] = field(default_factory=set)
    ignored: set[str] = field(default_factory=set)
    sdk_refuses: str = ""
    """Why the validation of Label Studio's SDK refuses what the editor writes, if it does."""


def drawn(name: str, *labels: str, to: str = "audio", number: int = 1, **more: Any) -> Item:
    """A region from 1 to 3 s as the editor writes it."""
    return {
        "original_length": 6.0,
        "value": {"start": 1.0, "end": 3.0, "channel": 0, "labels": list(labels)},
        "id": f"region{number}",
        "from_name": name,
        "to_name": to,
        "type": "labels",
        "origin": "manual",
        **more,
    }


def of_region(name: str, kind: str, value: Any, to: str = "audio", number: int = 1) -> Item:
    """What was chosen for that region."""
    return {
        "original_length": 6.0,
        "value": {"start": 1.0, "end": 3.0, "channel": 0, kind: value},
        "id": f"region{number}",
        "from_name": name,
        "to_name": to,
        "type": "textarea" if kind == "text" else kind,
        "origin": "manual",
    }


def of_clip(name: str, kind: str, value: Any, to: str = "audio") -> Item:
    """What was chosen for the whole clip."""
    return {
        "value": {kind: value},
        "id": f"clip-{name}-{to}",
        "from_name": name,
        "to_name": to,
        "type": "textarea" if kind == "text" else kind,
        "origin": "manual",
    }


AUDIO = '<Audio name="audio" value="$audio"/>'
AB = '<Labels name="label" toName="audio"><Label value="A"/><Label value="B"/></Labels>'
VERDICT = (
    '<Choices name="correct" toName="audio" perRegion="true" visibleWhen="region-selected">'
    '<Choice value="Correct"/><Choice value="Incorrect"/><Choice value="Unsure"/></Choices>'
)
WHOOT = f"""<View>{AUDIO}
<Labels name="label" toName="audio"><Label value="twitter"/><Label value="rasp"/></Labels>
<Choices name="correct" toName="audio" perRegion="true" visibleWhen="region-selected">
<Choice value="Correct"/><Choice value="Incorrect"/></Choices>
<Choices name="corrected_twitter" toName="audio" perRegion="true" visibleWhen="choice-selected"
 whenTagName="correct" whenChoiceValue="Incorrect"><Choice value="rasp"/><Choice value="other"/></Choices>
</View>"""
A_DRAWN = {"label": [(1.0, 3.0, {"A"})]}
A_PREDICTED = {("label", "audio"): {"labels": ["A"]}}
NESTED = '<Choice value="Animal"><Choice value="Dog"/><Choice value="Cat"/></Choice><Choice value="Rain"/>'
NESTED_LABELS = {"Animal", "Animal / Dog"}
YES_NO = '<Choice value="Yes"/><Choice value="No"/>'


def view(*tags: str) -> str:
    """A label config."""
    return f"<View>{''.join(tags)}</View>"


TEMPLATES = [
    Case("sound event detection", view(AB, AUDIO), [drawn("label", "A")], A_DRAWN, predicted=A_PREDICTED),
    Case(
        "speech recognition by segments",
        view(AB, AUDIO, '<TextArea name="text" toName="audio" perRegion="true" required="true"/>'),
        [drawn("label", "A"), of_region("text", "text", ["hello"])],
        A_DRAWN,
        predicted=A_PREDICTED,
        ignored={"text"},
    ),
    Case(
        "intent classification",
        view(
            '<Labels name="labels" toName="audio"><Label value="Segment"/></Labels>',
            AUDIO,
            '<Choices name="intent" toName="audio" perRegion="true" required="true">'
            '<Choice value="Question"/><Choice value="Request"/></Choices>',
        ),
        [drawn("labels", "Segment"), of_region("intent", "choices", ["Question"])],
        {"labels": [(1.0, 3.0, {"Segment"})], "intent": [(1.0, 3.0, {"Question"})]},
        predicted={
            ("labels", "audio"): {"labels": ["Segment"]},
            ("intent", "audio"): {"choices": ["Question"]},
        },
    ),
    Case(
        "signal quality",
        view('<Rating name="rating" toName="audio" maxRating="10" icon="star" size="medium"/>', AUDIO),
        [of_clip("rating", "rating", 8)],
        tags={"rating": {"8"}},
        predicted={("rating", "audio"): {"rating": 1}},
    ),
    Case(
        "emotion of speech",
        view(AUDIO, '<Choices name="c" toName="audio"><Choice value="Sad"/><Choice value="Glad"/></Choices>'),
        [of_clip("c", "choices", ["Sad"])],
        tags={"c": {"Sad"}},
        predicted={("c", "audio"): {"choices": ["Sad"]}},
    ),
    Case(
        "contextual scoring",
        view(AUDIO, AB, '<Number name="level" toName="audio" min="0" max="100"/>'),
        [drawn("label", "A"), of_clip("level", "number", 12)],
        A_DRAWN,
        predicted=A_PREDICTED,
        ignored={"level"},
    ),
    Case(
        "conversation: text beside sound",
        view(
            AUDIO,
            '<Paragraphs name="text" value="$text"/>',
            '<ParagraphLabels name="p" toName="text"><Label value="x"/></ParagraphLabels>',
            AB,
        ),
        [drawn("label", "B")],
        {"label": [(1.0, 3.0, {"B"})]},
        predicted=A_PREDICTED,
        data={"audio": "/a.wav", "text": [{"author": "A", "text": "hello"}]},
    ),
]

READING = [
    Case(
        "lower case, no toName",
        '<view><audio name="audio" value="$audio"/><labels name="label"><label value="A"/></labels>'
        '<choices name="each" perregion="true"><choice value="loud"/><choice value="faint"/>'
        "</choices></view>",
        [drawn("label", "A"), of_region("each", "choices", ["loud"])],
        {"label": [(1.0, 3.0, {"A"})], "each": [(1.0, 3.0, {"loud"})]},
        predicted={**A_PREDICTED, ("each", "audio"): {"choices": ["loud"]}},
        sdk_refuses="it takes tags in Label Studio's spelling alone",
    ),
    Case(
        "address in an object",
        view('<Audio name="audio" value="$rec.url"/>', AB),
        [drawn("label", "A")],
        A_DRAWN,
        predicted=A_PREDICTED,
        data={"rec": {"url": "/data/a.wav"}},
    ),
    Case(
        "address in a list",
        view('<Audio name="audio" value="$files[0].url"/>', AB),
        [drawn("label", "A")],
        A_DRAWN,
        predicted=A_PREDICTED,
        data={"files": [{"url": "/data/a.wav"}]},
    ),
    Case(
        "address with text around it",
        view('<Audio name="audio" value="https://h/$name.wav"/>', AB),
        [drawn("label", "A")],
        A_DRAWN,
        predicted=A_PREDICTED,
        data={"name": "x"},
    ),
    Case(
        "uploaded before the config",
        view(AUDIO, AB),
        [drawn("label", "A")],
        A_DRAWN,
        predicted=A_PREDICTED,
        data={"$undefined$": "/data/upload/1/a.wav"},
    ),
    Case(
        "aliases",
        view(
            AUDIO,
            '<Labels name="label" toName="audio"><Label value="Great tit" alias="A"/>'
            '<Label value="B"/></Labels>',
        ),
        [drawn("label", "A")],
        A_DRAWN,
        predicted=A_PREDICTED,
    ),
    Case(
        "choices as text",
        view(AUDIO, '<Choices name="c" toName="audio"><Choice>Wet</Choice><Choice>Dry</Choice></Choices>'),
        [of_clip("c", "choices", ["Wet"])],
        tags={"c": {"Wet"}},
        predicted={("c", "audio"): {"choices": ["Wet"]}},
    ),
    Case(
        "two sounds, one tag",
        view(
            '<Audio name="left" value="$left"/><Audio name="right" value="$right"/>',
            '<Labels name="label" toName="left,right"><Label value="A"/><Label value="B"/></Labels>',
        ),
        [drawn("label", "A", to="left"), drawn("label", "B", to="right", number=2)],
        {"label": [(1.0, 3.0, {"A"})], "label@right": [(1.0, 3.0, {"B"})]},
        predicted={("label", "left"): {"labels": ["A"]}, ("label", "right"): {"labels": ["A"]}},
        data={"left": "/l.wav", "right": "/r.wav"},
    ),
    Case(
        "two sounds, two tags",
        view(
            '<Audio name="left" value="$left"/><Audio name="right" value="$right"/>',
            '<Choices name="a" toName="left"><Choice value="x"/><Choice value="y"/></Choices>',
            '<Choices name="b" toName="right"><Choice value="x"/><Choice value="y"/></Choices>',
        ),
        [of_clip("a", "choices", ["x"], to="left"), of_clip("b", "choices", ["y"], to="right")],
        tags={"a": {"x"}, "b": {"y"}},
        predicted={("a", "left"): {"choices": ["x"]}, ("b", "right"): {"choices": ["x"]}},
        data={"left": "/l.wav", "right": "/r.wav"},
    ),
    Case(
        "repeater",
        view(
            '<Repeater on="$files" indexFlag="{{idx}}">'
            '<Audio name="audio{{idx}}" value="$files[{{idx}}].url"/>'
            '<Choices name="c{{idx}}" toName="audio{{idx}}"><Choice value="x"/><Choice value="y"/></Choices>'
            "</Repeater>"
        ),
        [of_clip("c0", "choices", ["x"], to="audio0"), of_clip("c1", "choices", ["y"], to="audio1")],
        tags={"c0": {"x"}, "c1": {"y"}},
        predicted={("c0", "audio0"): {"choices": ["x"]}, ("c1", "audio1"): {"choices": ["x"]}},
        data={"files": [{"url": "/a.wav"}, {"url": "/b.wav"}]},
        sdk_refuses="it does not expand a Repeater",
    ),
    Case(
        "an image beside the sound",
        view(
            AUDIO,
            '<Image name="picture" value="$picture"/>',
            '<RectangleLabels name="boxes" toName="picture"><Label value="x"/></RectangleLabels>',
            AB,
        ),
        [drawn("label", "A")],
        A_DRAWN,
        predicted=A_PREDICTED,
        data={"audio": "/a.wav", "picture": "/a.png"},
    ),
    Case(
        "video beside the sound",
        view('<Video name="video" value="$video" sync="audio"/>', AUDIO, AB),
        [drawn("label", "A")],
        A_DRAWN,
        predicted=A_PREDICTED,
        data={"audio": "/a.wav", "video": "/a.mp4"},
    ),
    Case(
        "video alone",
        view(
            '<Video name="video" value="$video" frameRate="25"/>',
            '<TimelineLabels name="t" toName="video"><Label value="A"/><Label value="B"/></TimelineLabels>',
            '<Choices name="c" toName="video"><Choice value="x"/><Choice value="y"/></Choices>',
        ),
        [
            {
                "value": {"ranges": [{"start": 26, "end": 75}], "timelinelabels": ["A"]},
                "id": "region1",
                "from_name": "t",
                "to_name": "video",
                "type": "timelinelabels",
                "origin": "manual",
            },
            of_clip("c", "choices", ["y"], to="video"),
        ],
        {"t": [(1.0, 3.0, {"A"})]},
        {"c": {"y"}},
        predicted={
            ("t", "video"): {"timelinelabels": ["A"]},
            ("c", "video"): {"choices": ["x"]},
        },
        data={"video": "/a.mp4"},
    ),
    Case(
        "video with its rate in the task",
        view(
            '<Video name="video" value="$video" frameRate="$fps"/>',
            '<TimelineLabels name="t" toName="video"><Label value="A"/></TimelineLabels>',
        ),
        [
            {
                "value": {"ranges": [{"start": 51, "end": 150}], "timelinelabels": ["A"]},
                "id": "region1",
                "from_name": "t",
                "to_name": "video",
                "type": "timelinelabels",
            }
        ],
        {"t": [(1.0, 3.0, {"A"})]},
        predicted={("t", "video"): {"timelinelabels": ["A"]}},
        data={"video": "/a.mp4", "fps": 50},
    ),
    Case(
        "labels on a video's picture",
        view(
            '<Video name="video" value="$video"/>',
            '<Labels name="boxes" toName="video"><Label value="A"/></Labels>'
            '<VideoRectangle name="r" toName="video"/>',
            '<Choices name="c" toName="video"><Choice value="x"/><Choice value="y"/></Choices>',
        ),
        [of_clip("c", "choices", ["x"], to="video")],
        tags={"c": {"x"}},
        predicted={("c", "video"): {"choices": ["x"]}},
        data={"video": "/a.mp4"},
        ignored={"boxes"},
    ),
    Case(
        "model_skip",
        view(
            AUDIO,
            AB,
            '<Choices name="c" toName="audio" model_skip="true"><Choice value="x"/>'
            '<Choice value="y"/></Choices>',
        ),
        [drawn("label", "A"), of_clip("c", "choices", ["x"])],
        A_DRAWN,
        predicted=A_PREDICTED,
        ignored={"c"},
    ),
    Case(
        "model_score_threshold",
        view(
            AUDIO,
            '<Labels name="label" toName="audio" model_score_threshold="1.0"><Label value="A"/></Labels>',
        ),
        [drawn("label", "A")],
        A_DRAWN,
    ),
]

CHOOSING = [
    Case(
        "several tags",
        view(
            AUDIO,
            '<Choices name="c" toName="audio" choice="multiple"><Choice value="x"/>'
            '<Choice value="y"/></Choices>',
        ),
        [of_clip("c", "choices", ["x", "y"])],
        tags={"c": {"x", "y"}},
        predicted={("c", "audio"): {"choices": ["x"]}},
    ),
    Case(
        "radio",
        view(
            AUDIO,
            '<Choices name="c" toName="audio" choice="single-radio"><Choice value="x"/><Choice value="y"/>'
            "</Choices>",
        ),
        [of_clip("c", "choices", ["y"])],
        tags={"c": {"y"}},
        predicted={("c", "audio"): {"choices": ["x"]}},
    ),
    Case(
        "nested single choice",
        view(AUDIO, f'<Choices name="c" toName="audio" allowNested="true">{NESTED}</Choices>'),
        [of_clip("c", "choices", [["Animal", "Dog"]])],
        tags={"c": {"Animal / Dog"}},
        predicted={("c", "audio"): {"choices": [["Animal", "Dog"]]}},
        sdk_refuses="it takes lists of texts alone",
    ),
    Case(
        "nested choices",
        view(
            AUDIO, f'<Choices name="c" toName="audio" allowNested="true" choice="multiple">{NESTED}</Choices>'
        ),
        [of_clip("c", "choices", [["Animal", "Dog"], ["Rain"]])],
        tags={"c": {*NESTED_LABELS, "Rain"}},
        predicted={},
        sdk_refuses="it takes lists of texts alone",
    ),
    Case(
        "nested without allowNested",
        view(AUDIO, f'<Choices name="c" toName="audio">{NESTED}</Choices>'),
        [of_clip("c", "choices", ["Rain"])],
        tags={"c": {"Rain"}},
        predicted={("c", "audio"): {"choices": ["Animal"]}},
    ),
    Case(
        "taxonomy",
        view(AUDIO, f'<Taxonomy name="t" toName="audio">{NESTED}</Taxonomy>'),
        [of_clip("t", "taxonomy", [["Animal", "Dog"]])],
        tags={"t": NESTED_LABELS},
        predicted={("t", "audio"): {"taxonomy": [["Animal"]]}},
    ),
    Case(
        "taxonomy, a parent chosen",
        view(AUDIO, f'<Taxonomy name="t" toName="audio">{NESTED}</Taxonomy>'),
        [of_clip("t", "taxonomy", [["Animal"]])],
        tags={"t": {"Animal"}},
        open_tags={"t": {"Animal / Dog", "Animal / Cat"}},
        predicted={("t", "audio"): {"taxonomy": [["Animal"]]}},
    ),
    Case(
        "taxonomy of regions",
        view(AUDIO, AB, f'<Taxonomy name="t" toName="audio" perRegion="true">{NESTED}</Taxonomy>'),
        [drawn("label", "A"), of_region("t", "taxonomy", [["Animal", "Dog"]])],
        {**A_DRAWN, "t": [(1.0, 3.0, NESTED_LABELS)]},
        predicted={**A_PREDICTED, ("t", "audio"): {"taxonomy": [["Animal"]]}},
    ),
    Case(
        "choices from the task",
        view(AUDIO, '<Choices name="c" toName="audio" value="$variants"/>'),
        [of_clip("c", "choices", ["x"])],
        tags={"c": {"x"}},
        data={"audio": "/a.wav", "variants": [{"value": "x"}, {"value": "y"}]},
        predicted={("c", "audio"): {"choices": ["x"]}},
    ),
    Case(
        "rating of regions",
        view(AUDIO, AB, '<Rating name="r" toName="audio" perRegion="true" maxRating="3"/>'),
        [drawn("label", "A"), of_region("r", "rating", 2)],
        {**A_DRAWN, "r": [(1.0, 3.0, {"2"})]},
        predicted={**A_PREDICTED, ("r", "audio"): {"rating": 1}},
    ),
    Case(
        "several labels of a region",
        view(
            AUDIO,
            '<Labels name="label" toName="audio" choice="multiple"><Label value="A"/>'
            '<Label value="B"/></Labels>',
        ),
        [drawn("label", "A", "B")],
        {"label": [(1.0, 3.0, {"A", "B"})]},
        predicted=A_PREDICTED,
    ),
    Case(
        "choices of regions, several",
        view(
            AUDIO,
            AB,
            '<Choices name="c" toName="audio" perRegion="true" choice="multiple"><Choice value="x"/>'
            '<Choice value="y"/></Choices>',
        ),
        [drawn("label", "A"), of_region("c", "choices", ["x", "y"])],
        {**A_DRAWN, "c": [(1.0, 3.0, {"x", "y"})]},
        predicted={**A_PREDICTED, ("c", "audio"): {"choices": ["x"]}},
    ),
    Case(
        "choices for some regions",
        view(
            AUDIO,
            AB,
            '<Choices name="c" toName="audio" perRegion="true" whenLabelValue="B"><Choice value="x"/>'
            '<Choice value="y"/></Choices>',
        ),
        [drawn("label", "B"), of_region("c", "choices", ["x"])],
        {"label": [(1.0, 3.0, {"B"})], "c": [(1.0, 3.0, {"x"})]},
        predicted=A_PREDICTED,
    ),
]

SILENCE = [
    Case(
        "hidden by a choice",
        view(
            AUDIO,
            f'<Choices name="q" toName="audio">{YES_NO}</Choices>',
            '<Choices name="what" toName="audio" choice="multiple" visibleWhen="choice-selected"'
            ' whenTagName="q" whenChoiceValue="Yes"><Choice value="x"/><Choice value="y"/></Choices>',
        ),
        [of_clip("q", "choices", ["No"])],
        tags={"q": {"No"}},
        hidden={"what"},
        predicted={("q", "audio"): {"choices": ["Yes"]}, ("what", "audio"): {"choices": ["x"]}},
    ),
    Case(
        "hidden by the view around it",
        view(
            AUDIO,
            f'<Choices name="q" toName="audio">{YES_NO}</Choices>',
            '<View visibleWhen="choice-selected" whenTagName="q" whenChoiceValue="Yes">',
            AB,
            "</View>",
        ),
        [of_clip("q", "choices", ["No"])],
        tags={"q": {"No"}},
        hidden={"label"},
        predicted={("q", "audio"): {"choices": ["Yes"]}, **A_PREDICTED},
    ),
    Case(
        "shown by a choice",
        view(
            AUDIO,
            f'<Choices name="q" toName="audio">{YES_NO}</Choices>',
            '<Choices name="what" toName="audio" visibleWhen="choice-unselected" whenTagName="q"'
            ' whenChoiceValue="Yes"><Choice value="x"/><Choice value="y"/></Choices>',
        ),
        [of_clip("q", "choices", ["No"]), of_clip("what", "choices", ["y"])],
        tags={"q": {"No"}, "what": {"y"}},
        predicted={("q", "audio"): {"choices": ["Yes"]}},
    ),
    Case(
        "a region without a label",
        view(AUDIO, AB),
        [
            {
                "value": {"start": 1.0, "end": 3.0, "channel": 0},
                "id": "region1",
                "from_name": "label",
                "to_name": "audio",
                "type": "region",
                "origin": "manual",
            },
            drawn("label", "A", number=2, value={"start": 4.0, "end": 5.0, "channel": 0, "labels": ["A"]}),
        ],
        {"label": [(1.0, 3.0, {"?"}), (4.0, 5.0, {"A"})]},
        predicted=A_PREDICTED,
        sdk_refuses="it knows no result of the type region",
    ),
    Case(
        "a region with an empty label",
        view(
            AUDIO,
            '<Labels name="label" toName="audio" allowEmpty="true"><Label value="A"/>'
            '<Label value="B"/></Labels>',
        ),
        [drawn("label")],
        {"label": [(1.0, 3.0, {"?"})]},
        predicted=A_PREDICTED,
    ),
    Case(
        "a transcribed region without a label",
        view(AUDIO, AB, '<TextArea name="text" toName="audio" perRegion="true"/>'),
        [of_region("text", "text", ["hello"])],
        {"label": [(1.0, 3.0, {"?"})]},
        predicted=A_PREDICTED,
        ignored={"text"},
    ),
]

VERIFYING = [
    Case(
        "corrected",
        WHOOT,
        [
            drawn("label", "twitter", origin="prediction"),
            of_region("correct", "choices", ["Incorrect"]),
            of_region("corrected_twitter", "choices", ["rasp"]),
        ],
        {"label": [(1.0, 3.0, {"rasp", "-twitter"})]},
        predicted={("label", "audio"): {"labels": ["twitter"]}},
    ),
    Case(
        "corrected to something else",
        WHOOT,
        [
            drawn("label", "twitter", origin="prediction"),
            of_region("correct", "choices", ["Incorrect"]),
            of_region("corrected_twitter", "choices", ["other"]),
        ],
        {"label": [(1.0, 3.0, {"-twitter", "?"})]},
        predicted={("label", "audio"): {"labels": ["twitter"]}},
    ),
    Case(
        "confirmed",
        WHOOT,
        [drawn("label", "twitter", origin="prediction"), of_region("correct", "choices", ["Correct"])],
        {"label": [(1.0, 3.0, {"twitter"})]},
        predicted={("label", "audio"): {"labels": ["twitter"]}},
    ),
    Case(
        "incorrect",
        view(AUDIO, AB, VERDICT),
        [drawn("label", "A"), of_region("correct", "choices", ["Incorrect"])],
        {"label": [(1.0, 3.0, {"-A", "?"})]},
        predicted=A_PREDICTED,
    ),
    Case(
        "unsure",
        view(AUDIO, AB, VERDICT),
        [drawn("label", "A"), of_region("correct", "choices", ["Unsure"])],
        {"label": [(1.0, 3.0, {"?"})]},
        predicted=A_PREDICTED,
    ),
    Case(
        "a question before it",
        view(
            AUDIO,
            AB,
            '<Header value="Is the label right?"/>',
            f'<Choices name="q" toName="audio" perRegion="true">{YES_NO}</Choices>',
        ),
        [drawn("label", "A"), of_region("q", "choices", ["No"])],
        {"label": [(1.0, 3.0, {"-A", "?"})]},
        predicted=A_PREDICTED,
    ),
    Case(
        "its role says so",
        view(
            AUDIO,
            AB,
            '<Choices name="q" toName="audio" perRegion="true" earmark_role="verdict">'
            '<Choice value="thumbs up" alias="yes"/><Choice value="thumbs down" alias="no"/></Choices>',
            '<Choices name="what" toName="audio" perRegion="true" earmark_role="correction">'
            '<Choice value="B"/></Choices>',
        ),
        [drawn("label", "A"), of_region("q", "choices", ["no"]), of_region("what", "choices", ["B"])],
        {"label": [(1.0, 3.0, {"B", "-A"})]},
        predicted=A_PREDICTED,
    ),
    Case(
        "a question that may mean either",
        view(AUDIO, AB, f'<Choices name="q" toName="audio" perRegion="true">{YES_NO}</Choices>'),
        [drawn("label", "A"), of_region("q", "choices", ["No"])],
        {"label": [(1.0, 3.0, {"?"})], "q": [(1.0, 3.0, {"No"})]},
        predicted={**A_PREDICTED, ("q", "audio"): {"choices": ["Yes"]}},
    ),
    Case(
        "a property of the region, as its role says",
        view(
            AUDIO,
            AB,
            f'<Choices name="noisy" toName="audio" perRegion="true" earmark_role="label">{YES_NO}</Choices>',
        ),
        [drawn("label", "A"), of_region("noisy", "choices", ["No"])],
        {**A_DRAWN, "noisy": [(1.0, 3.0, {"No"})]},
        predicted={**A_PREDICTED, ("noisy", "audio"): {"choices": ["Yes"]}},
    ),
    Case(
        "corrected by taxonomy",
        view(
            AUDIO,
            '<Labels name="label" toName="audio"><Label value="Dog"/><Label value="Cat"/></Labels>',
            '<Choices name="verdict" toName="audio" perRegion="true"><Choice value="True positive"/>'
            '<Choice value="False positive"/></Choices>',
            f'<Taxonomy name="actual" toName="audio" perRegion="true">{NESTED}</Taxonomy>',
        ),
        [
            drawn("label", "Dog"),
            of_region("verdict", "choices", ["False positive"]),
            of_region("actual", "taxonomy", [["Animal", "Cat"]]),
        ],
        {"label": [(1.0, 3.0, {"Cat", "-Dog"})]},
        predicted={("label", "audio"): {"labels": ["Dog"]}},
    ),
]

CASES = [*TEMPLATES, *READING, *CHOOSING, *SILENCE, *VERIFYING]
