// Loaded into fauxqs before it starts (node --import): keeps it on the loopback, and mends one rule.
import { register } from "node:module";
import net from "node:net";

const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (options, ...rest) {
  const asked = typeof options === "object" ? { ...options, host: "127.0.0.1" } : options;
  return listen.call(this, asked, ...rest);
};

// SQS takes characters beyond the basic plane (emoji) in bodies; fauxqs 1.9.2 sees their halves and refuses them.
const hooks = `
export async function load(url, context, next) {
  const loaded = await next(url, context);
  if (!url.endsWith("/sqs/sqsTypes.js")) return loaded;
  const source = String(loaded.source).replace("\\\\uE000-\\\\uFFFD]/;", "\\\\uE000-\\\\uFFFD\\\\u{10000}-\\\\u{10FFFF}]/u;");
  return { ...loaded, source };
}`;
register(`data:text/javascript,${encodeURIComponent(hooks)}`);
