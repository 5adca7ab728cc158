"""What the API answers. Times are dates (ISO 8601) by the clock of the stores; null: a value is not known."""

from tasuki.desk.api.answers.common import (
    Acts as Acts,
)
from tasuki.desk.api.answers.common import (
    Answer as Answer,
)
from tasuki.desk.api.answers.common import (
    Check as Check,
)
from tasuki.desk.api.answers.common import (
    Done as Done,
)
from tasuki.desk.api.answers.common import (
    Health as Health,
)
from tasuki.desk.api.answers.common import (
    Problem as Problem,
)
from tasuki.desk.api.answers.letters import (
    Batch as Batch,
)
from tasuki.desk.api.answers.letters import (
    Batches as Batches,
)
from tasuki.desk.api.answers.letters import (
    BatchGroup as BatchGroup,
)
from tasuki.desk.api.answers.letters import (
    Group as Group,
)
from tasuki.desk.api.answers.letters import (
    Groups as Groups,
)
from tasuki.desk.api.answers.letters import (
    Letter as Letter,
)
from tasuki.desk.api.answers.letters import (
    Letters as Letters,
)
from tasuki.desk.api.answers.messages import (
    Body as Body,
)
from tasuki.desk.api.answers.messages import (
    DryRun as DryRun,
)
from tasuki.desk.api.answers.messages import (
    Explained as Explained,
)
from tasuki.desk.api.answers.messages import (
    Found as Found,
)
from tasuki.desk.api.answers.messages import (
    Hit as Hit,
)
from tasuki.desk.api.answers.messages import (
    Message as Message,
)
from tasuki.desk.api.answers.messages import (
    MessageItem as MessageItem,
)
from tasuki.desk.api.answers.messages import (
    Messages as Messages,
)
from tasuki.desk.api.answers.messages import (
    Result as Result,
)
from tasuki.desk.api.answers.queues import (
    Consumer as Consumer,
)
from tasuki.desk.api.answers.queues import (
    History as History,
)
from tasuki.desk.api.answers.queues import (
    Line as Line,
)
from tasuki.desk.api.answers.queues import (
    Minute as Minute,
)
from tasuki.desk.api.answers.queues import (
    Notice as Notice,
)
from tasuki.desk.api.answers.queues import (
    Overview as Overview,
)
from tasuki.desk.api.answers.queues import (
    Queue as Queue,
)
from tasuki.desk.api.answers.queues import (
    QueueItem as QueueItem,
)
from tasuki.desk.api.answers.queues import (
    Queues as Queues,
)
from tasuki.desk.api.answers.queues import (
    Running as Running,
)
from tasuki.desk.api.answers.queues import (
    Topology as Topology,
)
from tasuki.desk.api.answers.queues import (
    Totals as Totals,
)
from tasuki.desk.api.answers.workers import (
    Event as Event,
)
from tasuki.desk.api.answers.workers import (
    Events as Events,
)
from tasuki.desk.api.answers.workers import (
    Lost as Lost,
)
from tasuki.desk.api.answers.workers import (
    Schedule as Schedule,
)
from tasuki.desk.api.answers.workers import (
    Schedules as Schedules,
)
from tasuki.desk.api.answers.workers import (
    Worker as Worker,
)
from tasuki.desk.api.answers.workers import (
    Workers as Workers,
)
