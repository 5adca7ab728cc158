-- Adds up what the handler has kept.
local store = require("store")

local function add(counts, name, n)
    counts[name] = (counts[name] or 0) + n
end

local function largest(counts, limit)
    local items = {}
    for name, count in pairs(counts) do
        items[#items + 1] = {name = name, count = count}
    end
    table.sort(items, function(a, b)
        if a.count ~= b.count then
            return a.count > b.count
        end
        return a.name < b.name
    end)
    return {table.unpack(items, 1, math.min(limit, #items))}
end

-- Calls visit with each record, a page at a time.
local function each(findings, visit)
    local page = {cursor = "", has_more = true}
    while page.has_more do
        local err
        page, err = findings:list({after = page.cursor, limit = 1000})
        if err then
            error(err)
        end
        for _, item in ipairs(page.items) do
            visit(item.value)
        end
    end
end

local function report(top)
    local totals = {files = 0, lines = 0, functions = 0, classes = 0}
    local modules, imports = {}, {}
    each(assert(store.get("survey:findings")), function(found)
        totals.files = totals.files + 1
        for _, name in ipairs({"lines", "functions", "classes"}) do
            add(totals, name, found[name])
        end
        add(modules, found.module, found.lines)
        for _, name in ipairs(found.imports) do
            add(imports, name, 1)
        end
    end)
    return {totals = totals, modules = largest(modules, top), imports = largest(imports, top)}
end

return report
