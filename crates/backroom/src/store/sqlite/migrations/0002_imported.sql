-- Jobs that were live when they were imported. One that ran here and was pruned must not come back with another import.
CREATE TABLE backroom_imported (
    job_id BLOB NOT NULL PRIMARY KEY CHECK (length(job_id) = 16)
) STRICT, WITHOUT ROWID;
