-- Predictions are found by the id of their request, too. Ids that the API makes sort by time, so that their index grows
-- at its end; random ones, which a caller may send, cost several times as much to write.
CREATE INDEX predictions_by_request ON predictions (request_id);
