local logger = require("logger")

return function(image)
  if not image.path then
    return nil, "an image needs a path"  -- a failure: the message is tried again, then dead-lettered
  end
  logger.info("resizing " .. image.path)
end
