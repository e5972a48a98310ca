from sqlalchemy import delete, select, update

from app.models.agent import Agent


class Agents:
    async def get_anybodys(self, agent_id):
        return await self._session.scalar(select(Agent).where(Agent.id == agent_id))  # found: a-tenants-rows-are-asked-for-by-workspace

    async def delete_anybodys(self, agent_id):
        await self._session.execute(delete(Agent).where(Agent.id == agent_id))  # found: a-tenants-rows-are-asked-for-by-workspace

    async def get(self, agent_id):
        mine = Agent.workspace_id == self._workspace_id
        return await self._session.scalar(select(Agent).where(mine, Agent.id == agent_id))  # passed: a-tenants-rows-are-asked-for-by-workspace

    async def get_here(self, agent_id):
        return await self._session.scalar(select(Agent).where(*self._is_here(), Agent.id == agent_id))  # passed: a-tenants-rows-are-asked-for-by-workspace

    def _own(self):
        return update(Agent).where(Agent.workspace_id == self._workspace_id)  # passed: a-tenants-rows-are-asked-for-by-workspace

    def _digest(self, given):
        return given.token == self.digest  # passed: a-secret-is-compared-in-constant-time
