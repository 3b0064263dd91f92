import base64
import json

import pytest
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

from tests.fakes.basic import Clock
from tests.fakes.clerk import LIFE_S, PAGE, Clerk
from tests.fakes.enginelabs import BUSY, CLOSE, IDLE, CtoNew, EngineLabs, said
from tests.fakes.service import Call, Refusal
from tests.fakes.test_clerk import exchange


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def labs(clock):
    return EngineLabs(Clerk(clock))


@pytest.fixture
def token(labs):
    browser = labs.clerk.sign_in()
    return exchange(labs.clerk, browser.cookie)[1]["jwt"]


def call(labs, method, path, token, body=None, **more):
    fields = {"authorization": f"Bearer {token}", "origin": PAGE, **more}
    raw = json.dumps(body).encode() if body is not None else b""
    return labs.answer(Call(method, path, {}, fields, raw))


def refusal(labs, *args, **more):
    with pytest.raises(Refusal) as caught:
        call(labs, *args, **more)
    return caught.value.status


def test_tokens_live_for_a_minute_and_belong_to_the_page(labs, token, clock):
    assert call(labs, "GET", "/billing", token).status == 200
    assert refusal(labs, "GET", "/billing", token, origin="https://elsewhere.test") == 403
    assert refusal(labs, "GET", "/billing", "other") == 401
    clock.advance(LIFE_S)
    assert refusal(labs, "GET", "/billing", token) == 401


def test_only_models_that_are_on_can_be_preferred(labs, token):
    call(labs, "PATCH", "/teams/preferred-model", token, {"modelKey": "gpt_5_4"})
    assert labs.preferred == {"user_1": "gpt_5_4"}
    for key in ("glm_5_1", "unknown"):
        assert refusal(labs, "PATCH", "/teams/preferred-model", token, {"modelKey": key}) == 400


def test_projects_are_made_and_deleted_by_their_user(labs, token):
    made = json.loads(
        call(labs, "POST", "/projects/create-hosted", token, {"projectName": "p"}).body
    )
    path = f"/engine-agent/chat-histories/{made['projectId']}"
    labs.clerk.sign_in(user="user_2", session="sess_2")
    other = exchange(labs.clerk, labs.clerk.browsers[1].cookie, "sess_2")[1]["jwt"]
    assert refusal(labs, "DELETE", path, other) == 404
    assert call(labs, "DELETE", path, token).status == 204
    assert refusal(labs, "DELETE", path, token) == 404


def test_a_prompt_must_be_encoded_and_belong_to_a_project(labs, token):
    project = json.loads(
        call(labs, "POST", "/projects/create-hosted", token, {"projectName": "p"}).body
    )["projectId"]
    good = {"prompt": "aGk=", "chatHistoryId": project, "encoded": True}
    wrong = ({"prompt": "h i"}, {"chatHistoryId": "x"}, {"encoded": False})
    for change in wrong:
        assert refusal(labs, "POST", "/engine-agent/chat", token, good | change) == 400
    labs.reached = True
    assert refusal(labs, "POST", "/engine-agent/chat", token, good) == 402


def test_the_command_lines_refresh_tokens_work_once(labs, clock):
    file = json.loads(labs.cli_file())
    body = {"grant_type": "refresh_token", "refresh_token": file["refreshToken"]}
    fresh = json.loads(call(labs, "POST", "/oauth/token", "", body).body)
    assert refusal(labs, "POST", "/oauth/token", "", body) == 400
    assert call(labs, "GET", "/models", fresh["access_token"]).status == 200
    clock.advance(fresh["expires_in"])
    assert refusal(labs, "GET", "/models", fresh["access_token"]) == 401


async def connect(server, path, **more):
    headers = {"origin": PAGE, "cookie": "__client=x", **more}
    return await websocket_connect(
        HTTPRequest(f"ws://127.0.0.1:{server.port}{path}", headers=headers)
    )


async def read(socket):
    raw = await socket.read_message()
    return raw if raw in (None, "ping") else json.loads(raw)


async def opened(labs, server, token):
    made = json.loads(
        call(labs, "POST", "/projects/create-hosted", token, {"projectName": "p"}).body
    )
    path = f"/engine-agent/chat-histories/{made['projectId']}/buffer/stream"
    query = f"?token=user_1:org_1&workspaceId={made['workspaceId']}"
    return made["projectId"], path, query


async def test_an_idle_frame_comes_first_and_answers_go_to_open_sockets(labs, token):
    async with CtoNew(labs.clerk, labs) as server:
        project, path, query = await opened(labs, server, token)
        socket = await connect(server, path + query)
        assert await read(socket) == IDLE
        assert (await read(socket))["type"] == "history"
        call(labs, "PATCH", "/teams/preferred-model", token, {"modelKey": "gpt_5_4"})
        prompt = base64.b64encode(b"why?").decode()
        body = {"prompt": prompt, "chatHistoryId": project, "encoded": True}
        assert call(labs, "POST", "/engine-agent/chat", token, body).status == 202
        frames = []
        while not frames or frames[-1] != IDLE:
            frames.append(await read(socket))
        assert frames[0] == BUSY
        assert "ping" in frames
        buffers = [frame["buffer"] for frame in frames if frame != "ping" and "buffer" in frame]
        assert {type(buffer) for buffer in buffers} == {str, dict}
        await socket.write_message("pong")
        await labs.ponged.wait()
        socket.close()
        await labs.left.wait()


async def test_a_script_says_what_is_answered_and_when_the_socket_closes(labs, token):
    labs.frames = [said("x"), CLOSE]
    async with CtoNew(labs.clerk, labs) as server:
        project, path, query = await opened(labs, server, token)
        socket = await connect(server, path + query)
        body = {"prompt": "aGk=", "chatHistoryId": project, "encoded": True}
        call(labs, "POST", "/engine-agent/chat", token, body)
        assert [await read(socket) for _ in range(4)][2:] == [said("x"), None]
        socket.close()


async def test_a_socket_wants_token_workspace_cookie_and_page(labs, token):
    async with CtoNew(labs.clerk, labs) as server:
        _, path, query = await opened(labs, server, token)
        for wrong, fields in (
            (path, {}),
            (f"{path}?token=user_1:org_1", {}),
            (f"{path}?token=user_1&workspaceId=workspace-user_1", {}),
            (path + query, {"cookie": ""}),
            (path + query, {"origin": "https://elsewhere.test"}),
        ):
            with pytest.raises(HTTPClientError) as caught:
                await connect(server, wrong, **fields)
            assert caught.value.code in (401, 403)
    assert labs.opened == 0
