"""Every option that Wippy's pages on queues, environment and AWS name passes the check, and reaches its driver."""

from __future__ import annotations

from tasuki.clock import SystemClock
from tasuki.kinds.build import build_driver, queue_spec
from tasuki.kinds.entries.consumer import ConsumerConfig
from tasuki.kinds.entries.queue import QueueConfig
from tests.unit.kinds.conftest import Make

PROJECT = """\
  - {name: memory, kind: queue.driver.memory, lifecycle: {auto_start: true}}
  - name: rabbit
    kind: queue.driver.amqp
    url: amqp://user:word@rabbit.test:5672/
    vhost: /
    connection_name: billing
    auth_mechanism: PLAIN
    heartbeat: 15s
    connection_timeout: 20s
    reconnect_delay: 2s
    reconnect_max_delay: 20s
    default_message_ttl: 2h
    default_queue_ttl: 3h
    default_queue_expiry: 48h
    prefetch_count: 20
    frame_size: 65536
    channel_max: 100
    tls: {enabled: true, server_name: rabbit.test, ca: '${env:app:ca}', insecure_skip_verify: false}
    lifecycle: {auto_start: true}
  - {name: ca, kind: env.variable, storage: fixed}
  - {name: key_id, kind: env.variable, variable: KEY_ID, storage: chain}
  - {name: key, kind: env.variable, variable: KEY, storage: fixed, default: word, readonly: true}
  - {name: process, kind: env.storage.os}
  - {name: scratch, kind: env.storage.memory}
  - {name: file, kind: env.storage.file, file_path: app.env, auto_create: true, file_mode: 0600, dir_mode: 0700}
  - {name: fixed, kind: env.storage.static, values: {ca: '-----BEGIN CERTIFICATE-----'}}
  - {name: chain, kind: env.storage.router, storages: ['app:scratch', 'app:process']}
  - name: account
    kind: config.aws
    region: eu-west-3
    access_key_id_env: app:key_id
    secret_access_key_env: KEY
  - name: amazon
    kind: queue.driver.sqs
    config: app:account
    endpoint: http://localhost:9324
    message_retention_period: 86400
    default_delay_seconds: 1
    disable_message_checksum_validation: true
    use_fips: true
    use_dual_stack: true
    lifecycle: {auto_start: true}
  - name: jobs
    kind: queue.queue
    driver: app:memory
    codec: json/plain
    queue_name: app_jobs
    driver_options:
      memory: {max_length: 700}
      amqp: {durable: true, auto_delete: false, message_ttl: 5m, queue_expiry: 1h, max_length: 10}
      sqs: {default_visibility_timeout: 45}
    dead_letter: {queue: app:dead, max_attempts: 3}
  - {name: dead, kind: queue.queue, driver: app:memory, codec: application/msgpack}
  - {name: work, kind: function.lua, source: return 1, method: main, modules: [queue, logger]}
  - name: worker
    kind: queue.consumer
    queue: app:jobs
    func: app:work
    concurrency: 4
    prefetch: 20
    auto_ack: false
    driver_options:
      amqp: {exclusive: false, no_local: false, no_wait: false, consumer_tag: w1}
      sqs: {wait_time: 10, visibility_timeout: 60}
    lifecycle: {auto_start: true, depends_on: ['app:jobs']}
"""
ENVIRON = {"KEY_ID": "AKIA-not-a-real-one"}


def test_all_of_them_pass_and_count_with_their_driver(project: Make) -> None:
    checked = project(PROJECT, environ=ENVIRON)
    assert checked.of(QueueConfig)["app:jobs"].max_length == 700
    on_rabbit = project(PROJECT, environ=ENVIRON, overrides=("app:jobs:driver=app:rabbit",))
    assert queue_spec(on_rabbit.of(QueueConfig)["app:jobs"]).options["queue_expiry"] == 3600.0
    assert on_rabbit.of(ConsumerConfig)["app:worker"].driver_options["consumer_tag"] == "w1"
    on_amazon = project(PROJECT, environ=ENVIRON, overrides=("app:jobs:driver=app:amazon",))
    assert queue_spec(on_amazon.of(QueueConfig)["app:jobs"]).options["default_visibility_timeout"] == 45.0
    account = build_driver(checked, "app:amazon", SystemClock())._settings.config  # type: ignore[attr-defined]
    assert (account.region, account.access_key_id.get_secret_value()) == ("eu-west-3", "AKIA-not-a-real-one")
    assert account.secret_access_key.get_secret_value() == "word"
