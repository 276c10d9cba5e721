"""A language model on a server: a stub that answers as recorded, well and badly."""

import time

import pytest

from stage_core.__main__ import main
from stage_core.command import chat
from stage_core.planning.planner import plan
from stage_core.stories import read_story

from ..answers import GOOD

QUESTION = [{"role": "user", "content": "?"}]


@pytest.fixture
def planned(stub, tmp_path, capsys):
    """Runs the command; gives its exit status, what it said, and the plan it wrote or None."""

    def run(*options, theme="A well", llm=None, shots=3):
        out = tmp_path / "plan.md"
        arguments = ["plan", theme, "--shots", str(shots), "--llm", llm or stub.url]
        status = main([*arguments, "--out", str(out), *options])
        found = plan(read_story(str(out))) if out.exists() else None
        return status, capsys.readouterr().err, found

    return run


def test_a_theme_becomes_a_plan_that_make_reads(stub, planned):
    stub.says(f"Here you are:\n```json\n{GOOD}\n```")
    status, said, found = planned("--language", "Dutch")
    assert status == 0 and len(found.shots) == 3 and "3 shots" in said
    ((path, question),) = stub.asked
    assert path == "/v1/chat/completions" and question["model"] == "small"
    assert "Dutch" in question["messages"][0]["content"]
    assert found.theme == "A well" and [m.name for m in found.cast] == ["Nour", "Bucket"]


def test_a_bad_answer_is_asked_for_again_and_a_third_time_then_given_up(stub, planned):
    stub.says("No.", GOOD[:300], GOOD)
    status, said, found = planned()
    assert status == 0 and len(found.shots) == 3
    assert "try 2 of 3" in said and "try 3 of 3" in said


def test_an_answer_that_is_never_whole_writes_nothing(stub, planned):
    stub.says(GOOD[: len(GOOD) // 2])
    status, said, found = planned()
    assert status == 1 and found is None and len(stub.asked) == 3
    assert "3 answers could not be used; of the last, the answer stops in shot" in said


def test_a_plan_that_is_there_is_never_written_over(stub, planned, tmp_path):
    (tmp_path / "plan.md").write_text("Mine.", encoding="utf-8")
    status, said, _ = planned()
    assert status == 1 and "is there already" in said and not stub.asked
    assert (tmp_path / "plan.md").read_text(encoding="utf-8") == "Mine."


def test_a_server_that_is_not_there_is_said_in_seconds(planned):
    begun = time.monotonic()
    status, said, _ = planned(llm="http://127.0.0.1:9")
    assert status == 1 and "no server answers" in said and "ollama serve" in said
    assert time.monotonic() - begun < 5


def test_a_wrong_model_is_answered_with_those_there_are(stub, planned):
    stub.replies = [(404, "{}")]
    stub.models = ["llama", "qwen"]
    status, said, _ = planned("--model", "gpt")
    assert status == 1 and "no model 'gpt'; it has llama, qwen" in said and "ollama pull" in said


def test_one_of_several_models_has_to_be_chosen(stub, planned):
    stub.models = ["llama", "qwen"]
    assert "choose one with --model" in planned()[1]


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (200, "<html>", "not as an OpenAI-compatible server"),
        (200, '{"choices": []}', "not as an OpenAI-compatible server"),
        (200, "[" * 50_000, "not as an OpenAI-compatible server"),
        (401, "{}", "STAGE_LLM_KEY"),
        (
            500,
            '{"error": {"message": "out of\\nmemory\\u001b[2J"}}',
            "error 500: out of memory [2J",
        ),
        (302, "", "error 302"),
    ],
)
def test_a_server_that_fails_is_said_in_one_sentence(stub, status, body, message):
    stub.replies = [(status, body)]
    with pytest.raises(ConnectionError) as caught:
        chat.Server.at(stub.url).answer("small", QUESTION)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_key_comes_from_the_environment_and_goes_nowhere_else(stub, planned, monkeypatch):
    monkeypatch.setenv(chat.KEY, "sk-secret")
    stub.says(GOOD)
    _, said, found = planned()
    assert stub.keys == ["Bearer sk-secret"]
    assert "sk-secret" not in said + found.to_json()


def test_a_key_is_not_sent_in_the_open_to_another_machine(monkeypatch):
    monkeypatch.setenv(chat.KEY, "sk-secret")
    with pytest.raises(ValueError, match="unencrypted") as caught:
        chat.Server.at("http://192.0.2.1").answer("small", QUESTION)
    assert "sk-secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://localhost:11434", "http://localhost:11434/v1"),
        ("http://localhost:1234/v1/", "http://localhost:1234/v1"),
        ("https://host/v1/chat/completions", "https://host/v1"),
        ("http://[::1]:8080/api/v3", "http://[::1]:8080/api/v3"),
    ],
)
def test_an_address_is_understood_as_people_write_it(url, name):
    assert chat.Server.at(url).name == name


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "ftp://a", "http://", "http://a:b@host", "http://host:99999", "//a"],
)
def test_what_is_no_address_of_a_server_is_refused(url):
    with pytest.raises(ValueError, match="--llm"):
        chat.Server.at(url)
