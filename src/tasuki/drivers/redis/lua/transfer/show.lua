-- Show messages by their places.
-- ARGV: the places
-- Returns their contents, and their errors.

return {answers('HMGET', MESSAGES, ARGV), answers('HMGET', ERRORS, ARGV)}
