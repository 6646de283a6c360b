//! Metrics of the sensor.

use super::{Kind, Metric, Row, metrics};

metrics! {
    BUILD Gauge "keywitness_build_info" ["version"] "Always 1; the version of the sensor."
    START_TIME Gauge "keywitness_start_time_seconds" [] "When the sensor started, seconds since the Unix epoch."
    MEMORY Gauge "keywitness_memory_bytes" [] "Resident memory of the sensor, bytes."
    CPU Counter "keywitness_cpu_seconds" [] "CPU time of the sensor in user space and in the kernel, seconds; without what its kernel programs take."

    PRODUCED Counter "keywitness_events_produced" ["kind"] "Events that the kernel programs made. For each kind produced = delivered + lost + in flight."
    DELIVERED Counter "keywitness_events_delivered" ["kind"] "Events that the sensor took."
    LOST Counter "keywitness_events_lost" ["kind", "cause"] "Events that did not fit or could not be made."
    IN_FLIGHT Gauge "keywitness_events_in_flight" [] "Events made that the sensor has not taken yet."
    RING Gauge "keywitness_ring_bytes" [] "Size of the buffer for kernel events, bytes."
    SKIPPED Counter "keywitness_skipped" ["what", "cause"] "Input that was bad, shortened, not supported, or did not fit into a table."
    TABLE_ENTRIES Gauge "keywitness_table_entries" ["table"] "Entries of a table of the sensor."
    TABLE_LIMIT Gauge "keywitness_table_limit" ["table"] "Entries from which on a table forgets or refuses."

    HOOK Gauge "keywitness_hook_attached" ["hook"] "1 when a hook is in place, 0 when not; `keywitness doctor` says what is lost without it."
    PROGRAM_TIME Counter "keywitness_program_run_seconds" ["program"] "Time in a kernel program, seconds; absent unless the kernel counts it (sysctl kernel.bpf_stats_enabled=1)."
    PROGRAM_RUNS Counter "keywitness_program_runs" ["program"] "Runs of a kernel program; absent as above."
    SOURCE Gauge "keywitness_identity_source" ["source", "state"] "Always 1; whether a source of identity is connected, waiting or off."

    CALLS Counter "keywitness_calls" ["provider", "model", "workload"] "Model calls."
    TOKENS Counter "keywitness_tokens" ["provider", "model", "workload", "type"] "Tokens as responses report them; cache_read and cache_write are parts of input, reasoning is part of output."
    COST Counter "keywitness_cost" ["provider", "model", "workload", "currency"] "What calls cost, as far as their price is known; subscriptions cost nothing here."
    ANSWERS Counter "keywitness_call_answers" ["provider", "class"] "Model calls by the class of their HTTP status: 2xx, 4xx, 5xx …, none."
    COVERAGE Counter "keywitness_call_coverage" ["binding", "complete", "credential"] "Model calls by what is known of them: how they are tied to a socket, whether the response was seen to its end, whether the credential is known."
    FLOWS Counter "keywitness_model_flows" [] "Connections to model endpoints."
    FLOWS_PLAINTEXT Counter "keywitness_model_flows_plaintext" [] "Of these, connections of which plaintext was read."
    FINDINGS Counter "keywitness_findings" ["rule", "severity"] "Findings that were opened."

    LOG_BYTES Gauge "keywitness_log_bytes" [] "Size of the flow log on disk, bytes."
    LOG_LIMIT Gauge "keywitness_log_limit_bytes" [] "Size from which on the oldest files of the flow log are removed, bytes."
    LOG_GAPS Counter "keywitness_log_gaps" ["cause"] "Stretches of records that are missing in the flow log."
    LOG_MISSING Counter "keywitness_log_missing_records" ["cause"] "Numbers of records missing in the flow log, of gaps that have ended; after a kill also numbers that were reserved and never used."

    EXPORT_OFFERED Counter "keywitness_export_offered" ["receiver"] "Records for a receiver of [export.NAME]; offered = delivered + dropped + waiting."
    EXPORT_DELIVERED Counter "keywitness_export_delivered" ["receiver"] "Records that a receiver took."
    EXPORT_DROPPED Counter "keywitness_export_dropped" ["receiver", "cause"] "Records that a receiver did not get."
    EXPORT_WAITING Gauge "keywitness_export_waiting" ["receiver"] "Records that wait for a receiver."
    EXPORT_LIMIT Gauge "keywitness_export_queue_limit" [] "Records that can wait for one receiver; more are dropped."

    UPLINK_CONNECTED Gauge "keywitness_uplink_connected" [] "1 while a collector answers, 0 while none does; absent, as the next ones, unless collectors are configured."
    UPLINK_LAG Gauge "keywitness_uplink_lag_seconds" [] "Time since a collector had everything that was in the flow log; under a second when all is well."
    UPLINK_SENT Counter "keywitness_uplink_sent" [] "Records sent to a collector; what is sent again after a failure counts again."
    UPLINK_ACKNOWLEDGED Counter "keywitness_uplink_acknowledged" [] "Records that a collector has stored durably."
    UPLINK_DUPLICATES Counter "keywitness_uplink_duplicates" [] "Of these, records that the collector had before."
    UPLINK_FAILURES Counter "keywitness_uplink_failures" [] "Connections to a collector that failed or could not be made."
}
