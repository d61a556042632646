"use strict";
// A resource that goes with another one is not deleted itself.
const { resource } = require("./resources");
const a = resource("a");
resource("b", {}, { deletedWith: a });
