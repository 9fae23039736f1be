"""Metrics of a small company as seven exporters would have them: weeks of the past, three incidents, and now.

Every sample follows from the time and the seed, so that scrapes continue what the history began.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["Fleet", "Incident", "Row"]

DAY, WEEK = 86400.0, 604800.0
BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Row:
    """A series: its name, its labels, and a value for every instant (NaN: no sample)."""

    name: str
    labels: Mapping[str, str]
    values: Values


@dataclass(frozen=True, slots=True)
class Incident:
    """What goes wrong between two Unix times."""

    name: str
    start: float
    end: float


@dataclass
class Fleet:
    """Series from `start` to `end` (Unix seconds), a sample every `step` seconds.

    Attributes
    ----------
    jobs : sequence of str
        The exporters; all unless given.
    incidents : tuple of Incident
        In the week before `now`, relative to it.
    """

    start: float
    end: float
    now: float
    step: float = 60.0
    seed: int = 11
    jobs: Sequence[str] = ()
    rows: dict[str, list[Row]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.times = np.arange(self.start, self.end, self.step)
        self._rng = np.random.default_rng(self.seed)
        self.incidents = tuple(
            Incident(name, self.now - days * DAY, self.now - days * DAY + hours * 3600.0)
            for name, days, hours in (
                ("the API answers 500", 5.3, 0.5),
                ("the database is slow", 3.1, 1.0),
                ("a consumer is stuck", 1.4, 1.0),
            )
        )
        api, database, consumer = (self._during(incident) for incident in self.incidents)
        make: dict[str, Callable[[], Iterator[Row]]] = {
            "node": self._node,
            "kube-state-metrics": self._kubernetes,
            "postgres": lambda: self._postgres(database),
            "redis": self._redis,
            "kafka": lambda: self._kafka(consumer),
            "traefik": lambda: self._traefik(api),
            "app": self._app,
        }
        for job, rows in make.items():
            if not self.jobs or job in self.jobs:
                self.rows[job] = list(rows())

    def page(self, job: str, at: float) -> str:
        """Return what a scrape of a job gives at a Unix time."""
        i = min(int((at - self.start) // self.step), len(self.times) - 1)
        now = [(row, float(row.values[i])) for row in self.rows[job]]
        return "".join(f"{row.name}{_braces(row.labels)} {value!r}\n" for row, value in now if not np.isnan(value))

    def history(self, file: Path) -> int:
        """Write the samples before `now` as OpenMetrics for promtool; return their number."""
        past = self.times < self.now
        stamps = [f" {stamp:.0f}\n" for stamp in self.times[past]]
        count = 0
        with file.open("w") as out:
            named = sorted(
                ((row.name, job, row) for job, rows in self.rows.items() for row in rows), key=lambda x: x[:2]
            )
            for name, job, row in named:
                head = f"{name}{_braces({'job': job, 'instance': f'{job}:1', **row.labels})} "
                values = row.values[past]
                keep = ~np.isnan(values)
                texts = [f"{head}{v!r}{s}" for v, s, k in zip(values.tolist(), stamps, keep, strict=True) if k]
                count += len(texts)
                out.writelines(texts)
            out.write("# EOF\n")
        return count

    # What everything is made of.

    def _during(self, incident: Incident) -> Values:
        return ((self.times >= incident.start) & (self.times < incident.end)).astype(float)

    def _load(self, base: float, day: float = 0.5, weekend: float = 0.7, noise: float = 0.05) -> Values:
        """Return a busy day and a quiet night, quieter weekends, and noise that remembers ten minutes."""
        clock = self.times % DAY / DAY
        shape = 1.0 + day * np.sin(2 * np.pi * (clock - 0.35))
        quiet = np.where((self.times // DAY + 3) % 7 >= 5, weekend, 1.0)
        return base * shape * quiet * np.exp(self._noise(noise))

    def _noise(self, size: float, minutes: float = 10.0) -> Values:
        from scipy.signal import lfilter

        keep = np.exp(-self.step / 60.0 / minutes)
        fresh = self._rng.standard_normal(len(self.times)) * size * np.sqrt(1 - keep**2)
        return np.asarray(lfilter([1.0], [1.0, -keep], fresh))

    def _nightly(self, hour: float, minutes: float) -> Values:
        return ((self.times % DAY >= hour * 3600) & (self.times % DAY < hour * 3600 + minutes * 60)).astype(float)

    def _count(self, rate: Values) -> Values:
        """Return a counter of events at a rate per second."""
        return np.cumsum(self._rng.poisson(np.maximum(rate, 0.0) * self.step)).astype(float)

    def _sum(self, rate: Values) -> Values:
        return np.round(np.cumsum(np.maximum(rate, 0.0) * self.step), 3)

    def _latencies(self, name: str, labels: Mapping[str, str], rate: Values, median: Values) -> Iterator[Row]:
        """Yield the buckets and the count of a histogram of log-normal durations."""
        from scipy.special import ndtr

        total = self._rng.poisson(np.maximum(rate, 0.0) * self.step).astype(float)
        for le in BUCKETS:
            share = ndtr(np.log(le / median) / 0.6)
            yield Row(f"{name}_bucket", {**labels, "le": str(le)}, np.cumsum(np.round(total * share)))
        yield Row(f"{name}_bucket", {**labels, "le": "+Inf"}, np.cumsum(total))
        yield Row(f"{name}_count", labels, np.cumsum(total))

    # The exporters.

    def _node(self) -> Iterator[Row]:
        for host, base in (("web-1", 0.25), ("db-1", 0.4)):
            own = {"instance": f"{host}:9100"}
            backup = self._nightly(2.0, 20.0) * (host == "db-1")
            busy = np.clip(self._load(base, noise=0.08) + 0.2 * backup, 0.01, 0.98)
            for cpu in ("0", "1"):
                for mode, share in (
                    ("idle", 1 - busy),
                    ("user", 0.7 * busy),
                    ("system", 0.25 * busy),
                    ("iowait", 0.05 * busy),
                ):
                    yield Row("node_cpu_seconds_total", {**own, "cpu": cpu, "mode": mode}, self._sum(share))
            yield Row("node_load5", own, np.round(2 * busy * np.exp(self._noise(0.1)), 2))
            yield Row("node_memory_MemTotal_bytes", own, np.full(len(self.times), 16e9))
            yield Row("node_memory_MemAvailable_bytes", own, np.round(9e9 - 2e9 * busy + 2e8 * self._noise(1.0, 120)))
            disk = np.clip(self._load(0.1, noise=0.3) + 0.5 * backup, 0, 1)
            yield Row("node_disk_io_time_seconds_total", {**own, "device": "sda"}, self._sum(disk))
            for way in ("receive", "transmit"):
                traffic = self._load(3e6, noise=0.1) + 2e7 * backup
                yield Row(f"node_network_{way}_bytes_total", {**own, "device": "eth0"}, np.round(self._sum(traffic)))
                yield Row(f"node_network_{way}_errs_total", {**own, "device": "eth0"}, np.zeros(len(self.times)))
            yield Row("node_nf_conntrack_entries", own, np.round(self._load(8000, noise=0.05)))
            yield Row("node_nf_conntrack_entries_limit", own, np.full(len(self.times), 65536.0))
            disk_labels = {**own, "device": "/dev/sda1", "fstype": "ext4", "mountpoint": "/"}
            used = 0.5 + 0.05 * (self.times - self.start) / (28 * DAY) + 0.01 * (self.times % DAY / DAY)
            for name, size in (("", 1e11), ("files", 6e6)):
                whole, free = ("size_bytes", "avail_bytes") if not name else ("files", "files_free")
                yield Row(f"node_filesystem_{whole}", disk_labels, np.full(len(self.times), size))
                yield Row(f"node_filesystem_{free}", disk_labels, np.round(size * (1 - used)))

    def _kubernetes(self) -> Iterator[Row]:
        for namespace in ("shop", "infra"):
            for number in range(4):
                own = {"namespace": namespace, "pod": f"{namespace}-{number}"}
                # Somebody deploys on weekdays at 14:00: each pod is away for two minutes.
                away = (
                    self._nightly(14.0 + number / 30, 2.0) * ((self.times // DAY + 3) % 7 < 5) * (namespace == "shop")
                )
                yield Row("kube_pod_status_ready", {**own, "condition": "false"}, away)
                for phase, value in (("Running", 1 - away), ("Pending", away), ("Succeeded", 0 * away)):
                    yield Row("kube_pod_status_phase", {**own, "phase": phase}, value)
                restarts = np.cumsum(self._rng.random(len(self.times)) < self.step / (9 * DAY)).astype(float)
                yield Row("kube_pod_container_status_restarts_total", {**own, "container": "main"}, restarts)
        hpa = {"namespace": "shop", "horizontalpodautoscaler": "api"}
        yield Row("kube_horizontalpodautoscaler_status_desired_replicas", hpa, np.ceil(self._load(4.0, noise=0.05)))
        yield Row("kube_horizontalpodautoscaler_spec_max_replicas", hpa, np.full(len(self.times), 12.0))
        for day in range(int(self.start // DAY) + 1, int(self.end // DAY) + 1):
            begun = day * DAY + 2 * 3600
            took = 1200 + 60 * self._rng.standard_normal()
            seen = (self.times >= begun + took) & (self.times < begun + DAY)
            own = {"namespace": "infra", "job_name": f"backup-{day}"}
            yield Row("kube_job_status_start_time", own, np.where(seen, begun, np.nan))
            yield Row("kube_job_status_completion_time", own, np.where(seen, np.round(begun + took), np.nan))

    def _postgres(self, bad: Values) -> Iterator[Row]:
        own = {"datname": "shop"}
        work = self._load(200.0) * (1 - 0.6 * bad)
        yield Row("pg_stat_database_xact_commit", own, self._count(work))
        yield Row("pg_stat_database_xact_rollback", own, self._count(0.01 * work))
        for state, base in (("active", 8.0), ("idle", 30.0)):
            size = np.round(self._load(base, day=0.3, noise=0.1) * (1 + 2.0 * bad))
            yield Row("pg_stat_activity_count", {**own, "state": state}, size)
        yield Row("pg_stat_database_deadlocks", own, self._count(np.full(len(self.times), 1 / (2 * DAY))))
        for table, every in (("orders", 6.1), ("carts", 3.7)):
            sawtooth = 20000 * (self.times / 3600 % every) / every
            yield Row("pg_stat_user_tables_n_dead_tup", {**own, "relname": table}, np.round(sawtooth))
        yield Row("pg_replication_lag_seconds", {}, np.round(np.abs(0.3 + 0.2 * self._noise(1.0)), 2))

    def _redis(self) -> Iterator[Row]:
        work = self._load(900.0)
        yield Row("redis_commands_processed_total", {}, self._count(work))
        ratio = np.clip(0.93 + 0.01 * self._noise(1.0, 60), 0, 1)
        yield Row("redis_keyspace_hits_total", {}, self._count(0.6 * work * ratio))
        yield Row("redis_keyspace_misses_total", {}, self._count(0.6 * work * (1 - ratio)))
        yield Row("redis_evicted_keys_total", {}, self._count(np.full(len(self.times), 0.01)))
        yield Row("redis_memory_used_bytes", {}, np.round(6e8 + 5e7 * self._load(1.0, noise=0.02)))
        yield Row("redis_connected_clients", {}, np.round(self._load(60.0, day=0.3, noise=0.05)))

    def _kafka(self, bad: Values) -> Iterator[Row]:
        for topic, base in (("orders", 50.0), ("clicks", 400.0)):
            rate = self._load(base)
            own = {"topic": topic}
            for partition in ("0", "1"):
                part = {**own, "partition": partition}
                yield Row("kafka_topic_partition_current_offset", part, self._count(rate / 2))
                yield Row("kafka_topic_partition_in_sync_replica", part, np.full(len(self.times), 3.0))
            stuck = np.where(bad > 0, np.cumsum(bad * rate * self.step), 0.0) * (topic == "orders")
            lag = self._rng.poisson(0.4 * rate) + stuck
            yield Row("kafka_consumergroup_lag", {**own, "consumergroup": "billing", "partition": "0"}, np.round(lag))
            for way, size in (("in", 900.0), ("out", 1800.0)):
                yield Row(f"kafka_server_brokertopicmetrics_bytes{way}_total", own, np.round(self._sum(rate * size)))
        slow = np.round(12.0 * np.exp(self._noise(0.2)), 1)
        yield Row("kafka_network_requestmetrics_totaltimems", {"request": "Produce", "quantile": "0.99"}, slow)

    def _traefik(self, bad: Values) -> Iterator[Row]:
        for service, base, median in (("web", 60.0, 0.08), ("api", 25.0, 0.04)):
            rate, own = self._load(base), {"service": f"{service}@docker"}
            failed = 0.002 + 0.08 * bad * (service == "api")
            for code, share in (("200", 0.97 - failed), ("404", np.full(len(self.times), 0.03)), ("500", failed)):
                yield Row(
                    "traefik_service_requests_total", {**own, "code": code, "method": "GET"}, self._count(rate * share)
                )
            took = median * (1 + 0.3 * rate / (2 * base)) * np.exp(self._noise(0.05))
            yield from self._latencies("traefik_service_request_duration_seconds", {**own, "code": "200"}, rate, took)
        yield Row("traefik_open_connections", {"entrypoint": "websecure"}, np.round(self._load(80.0, noise=0.1)))

    def _app(self) -> Iterator[Row]:
        for number in range(2):
            own = {"instance": f"app-{number}:8080"}
            rate = self._load(30.0)
            yield Row(
                "jvm_gc_pause_seconds_sum",
                {**own, "action": "end of minor GC"},
                self._sum(0.004 * rate / 30 * np.exp(self._noise(0.3))),
            )
            yield Row("jvm_gc_pause_seconds_count", {**own, "action": "end of minor GC"}, self._count(0.1 * rate / 30))
            heap = 4e8 + 6e8 * (self.times / 60 % (17 + number)) / (17 + number) + 2e7 * self._noise(1.0)
            yield Row("jvm_memory_used_bytes", {**own, "area": "heap", "id": "G1 Old Gen"}, np.round(heap))
            yield Row("jvm_threads_live_threads", own, np.round(self._load(90.0, day=0.1, weekend=0.95, noise=0.02)))
            for route, share in (("/cart", 0.7), ("/pay", 0.3)):
                for code, part in (("200", 0.998), ("500", 0.002)):
                    labels = {**own, "http_route": route, "http_response_status_code": code}
                    took = np.full(len(self.times), 0.06) * np.exp(self._noise(0.05))
                    yield from self._latencies(
                        "http_server_request_duration_seconds", labels, rate * share * part, took
                    )


def _braces(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{name}="{value}"' for name, value in labels.items()) + "}" if labels else ""
