ALTER TABLE cel ADD PRIMARY KEY (id);
CREATE INDEX cel_linkedid ON cel (linkedid);
CREATE INDEX cel_uniqueid ON cel (uniqueid);
CREATE INDEX cel_eventtime ON cel (eventtime);
