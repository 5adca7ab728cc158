-- Silent deliveries are looked at as soon as they were not renewed for the first share of the time after which their process
-- may be taken for dead, and again after the second share, in which a living one hears again.
local EARLY, LATER = 0.6, 0.3
