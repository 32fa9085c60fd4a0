-- name: notified
SELECT body FROM monitor_state WHERE name = 'notices'

-- name: put_notified
INSERT INTO monitor_state (name, cursor_predictions, cursor_feedback, body, updated_at_us)
VALUES ('notices', 0, 0, :body, 0)
ON CONFLICT (name) DO UPDATE SET body = excluded.body
