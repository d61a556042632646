"use strict";
// A replacement is created before the old resource is deleted.
const { resource, step } = require("./resources");
const a = resource("a", { key: step });
resource("b", { value: a.id.apply(() => "same") });
