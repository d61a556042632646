"use strict";
// What depends on a resource is created after it and deleted before it.
const { resource } = require("./resources");
const a = resource("a");
const b = resource("b", { value: a.stdout });
resource("c", { value: b.stdout });
