"use strict";
// A resource with `retainOnDelete` is forgotten, not deleted.
const { resource } = require("./resources");
resource("a", {}, { retainOnDelete: true });
resource("b");
