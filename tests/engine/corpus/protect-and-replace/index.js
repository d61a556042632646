"use strict";
// A protected resource is not replaced.
const { resource, step } = require("./resources");
resource("a", { key: step }, { protect: true });
