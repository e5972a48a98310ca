from fastapi import APIRouter

router = APIRouter()


@router.get("/agents")  # found: a-route-declares-its-permission
async def list_agents(agents: Agents, limit: Limit = 50) -> Page:
    return await agents.list_page(limit)


@router.delete("/agents/{agent_id}", status_code=204)  # found: a-route-declares-its-permission
async def delete_agent(agent_id: UUID, agents: Agents) -> None:
    await agents.delete(agent_id)


@router.get("/agents")  # passed: a-route-declares-its-permission
async def list_their_agents(actor: ReadsAgents, agents: Agents, limit: Limit = 50) -> Page:
    return await agents.list_page(actor, limit)


@router.get("/me")  # passed: a-route-declares-its-permission
async def read_me(user: Caller) -> UserRead:
    return user.read()


@router.get("/keys")  # passed: a-route-declares-its-permission
async def list_keys(caller: OfAccount, keys: Keys) -> Page:
    return await keys.list_page(caller)
