"""The snippets of the seed document, letter by letter; and the rest of a project around them."""

from __future__ import annotations

DRIVER = """\
- name: memory_driver
  kind: queue.driver.memory
  lifecycle:
    auto_start: true
"""

QUEUE = """\
- name: tasks
  kind: queue.queue
  driver: app.queue:memory_driver
"""

CONSUMER = """\
- name: task_consumer
  kind: queue.consumer
  queue: app.queue:tasks
  func: app.queue:task_handler
  concurrency: 4
  prefetch: 20
  lifecycle:
    auto_start: true
    depends_on:
      - app.queue:tasks
"""

FUNCTION = """\
- name: task_handler
  kind: function.lua
  source: file://task_handler.lua
  modules:
    - json
    - logger
"""

HANDLER = """\
local json = require("json")
local logger = require("logger")

local function handler(body)
    local data = json.decode(body)

    logger.info("Processing", {task_id = data.id})

    local result, err = process_task(data)
    if err then
        return nil, err  -- Nack: メッセージを再キュー
    end

    return result  -- Ack: キューから削除
end

return handler
"""

PUBLISH = """\
local queue = require("queue")

queue.publish("app.queue:tasks", {
    id = "task-123",
    action = "process",
    data = payload
})
"""

# The document does not define process_task, and not what a payload is.
PROCESS_TASK = """\
local tries = {}
local function process_task(data)
    tries[data.id] = (tries[data.id] or 0) + 1
    if tries[data.id] <= (data.failures or 0) then
        return nil, "not yet"
    end
    return data
end
"""

PUBLISHER = """\
- name: publisher
  kind: function.lua
  source: file://publisher.lua
  modules:
    - queue
"""


def document(*entries: str) -> str:
    """The project file with these entries."""
    return 'version: "1.0"\nnamespace: app.queue\nentries:\n' + "\n".join(entries)


PROJECT = {
    "_index.yaml": document(DRIVER, QUEUE, CONSUMER, FUNCTION, PUBLISHER),
    "task_handler.lua": PROCESS_TASK + HANDLER,
    "publisher.lua": f"return function(payload)\n{PUBLISH}end\n",
}
ON_SQLITE = "app.queue:memory_driver:kind=queue.driver.sqlite"
