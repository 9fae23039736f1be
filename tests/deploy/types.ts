// What a dashboard has to be. The test puts its JSON in place of DASHBOARD and lets the compiler judge.
import type { AnnotationQuery, Dashboard } from "@grafana/schema";

// JSON has the texts of an enum, where the types want its names.
type Plain<T> = T extends string
  ? `${T}`
  : T extends (infer One)[]
    ? Plain<One>[]
    : T extends object
      ? { [K in keyof T]: Plain<T[K]> }
      : T;
// The data source of Prometheus adds the expression of an annotation, and how a mark is written.
type Mark = AnnotationQuery & { expr: string; tagKeys?: string; textFormat?: string; titleFormat?: string };
type Marks = { list?: Plain<Mark>[] };
type Whole = Plain<Omit<Dashboard, "annotations">> & { annotations?: Marks };

export const dashboard: Whole = DASHBOARD;
