//! Metrics of the collector. Their names differ from those of sensors, so that no sum counts a call twice.

use super::{Kind, Metric, Row, metrics};

metrics! {
    BUILD Gauge "keywitness_collector_build_info" ["version"] "Always 1; the version of the collector."
    START_TIME Gauge "keywitness_collector_start_time_seconds" [] "When the collector started, seconds since the Unix epoch."
    MEMORY Gauge "keywitness_collector_memory_bytes" [] "Resident memory of the collector, bytes."
    CPU Counter "keywitness_collector_cpu_seconds" [] "CPU time of the collector, seconds."

    SENSORS Gauge "keywitness_collector_sensors" ["tenant", "state"] "Sensors by state: heard, or silent for longer than --silent-after; after a week of silence in neither."
    STREAMS Gauge "keywitness_collector_streams" [] "Streams of batches that are open; a sensor has one."
    REPORTS Counter "keywitness_collector_sensor_reports" ["tenant", "kind"] "What was seen to be wrong with sensors, before it is grouped to findings: silent (each half minute that it lasts), gap, forged_host, two_machines, clock."
    CONNECTIONS_REFUSED Counter "keywitness_collector_connections_refused" ["cause"] "Connections of sensors that were not served: handshake (no TLS, a foreign, expired or missing certificate), nameless (a certificate that names no sensor), limit."
    BATCHES_REFUSED Counter "keywitness_collector_batches_refused" ["cause"] "Batches that were not stored: forged_host and malformed are for good, storage is sent again by the sensor."
    ACK Histogram "keywitness_collector_ack_seconds" [] "Time from a batch that has arrived to its acknowledgement, which means that it is durable."
    QUEUE Gauge "keywitness_collector_queue_batches" [] "Batches that wait to be stored; sensors wait when the queue is full."
    QUEUE_LIMIT Gauge "keywitness_collector_queue_limit" [] "Batches that can wait."
    FAILING Gauge "keywitness_collector_storage_failing" [] "1 while records cannot be stored (sensors keep theirs), else 0."

    RECORDS Counter "keywitness_collector_records" ["tenant"] "Records of sensors that were stored."
    BYTES Counter "keywitness_collector_record_bytes" ["tenant"] "Their size as JSON, bytes."
    DUPLICATES Counter "keywitness_collector_duplicates" ["tenant"] "Records that came again and were left out."
    MISSING Counter "keywitness_collector_missing_records" ["tenant"] "Numbers of records that sensors skipped, explained by them or not."
    LOG_SEGMENT Gauge "keywitness_collector_log_segment" ["tenant"] "Number of the log's newest file."
    LOG_RECORDS Gauge "keywitness_collector_log_segment_records" ["tenant"] "Records in that file."
    LOG_BYTES Gauge "keywitness_collector_log_bytes" ["tenant"] "Size of the log on disk, bytes."
    LOG_LIMIT Gauge "keywitness_collector_log_limit_bytes" [] "Size from which on the oldest files of a tenant's log are removed, bytes."

    CALLS Counter "keywitness_collector_calls" ["tenant", "provider", "model", "workload"] "Model calls that sensors recorded."
    TOKENS Counter "keywitness_collector_tokens" ["tenant", "provider", "model", "workload", "type"] "Tokens of these calls; cache_read and cache_write are parts of input, reasoning is part of output."
    COST Counter "keywitness_collector_cost" ["tenant", "provider", "model", "workload", "currency"] "What these calls cost, as far as their price is known."
    ANSWERS Counter "keywitness_collector_call_answers" ["tenant", "provider", "class"] "These calls by the class of their HTTP status."
    COVERAGE Counter "keywitness_collector_call_coverage" ["tenant", "binding", "complete", "credential"] "These calls by what is known of them, as for the sensor."
    FINDINGS Counter "keywitness_collector_findings" ["tenant", "rule", "severity"] "Findings about the fleet that were opened; those of single sensors are counted by them."
}
