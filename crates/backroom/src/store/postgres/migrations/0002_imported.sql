-- Jobs that were live when they were imported: one that ran here and was pruned must not come back by another import.
CREATE TABLE {schema}.imported (
    job_id uuid NOT NULL PRIMARY KEY
);
