// Judge resources (a JSON list on standard input) by the schemas of the operators that define their kinds.
import { readFileSync } from "node:fs";
import { PodMonitor, Prometheus, PrometheusRule, ServiceMonitor } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1";
import { ScaledObject } from "@kubernetes-models/keda/keda.sh/v1alpha1";

const kinds = { PodMonitor, Prometheus, PrometheusRule, ServiceMonitor, ScaledObject };
let faults = 0;
for (const resource of JSON.parse(readFileSync(0, "utf8"))) {
  try {
    new kinds[resource.kind](resource).validate();
  } catch (fault) {
    faults += 1;
    console.log(`${resource.kind} ${resource.metadata?.name}: ${fault.message}`);
  }
}
process.exit(faults ? 1 : 0);
