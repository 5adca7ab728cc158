-- Show messages by their places.
-- ARGV: the places
-- Returns their contents, errors, histories and delays.

return {looks(ARGV)}
