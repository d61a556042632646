"use strict";
// Two resources of one type and name are an error.
const { resource } = require("./resources");
resource("a");
resource("a");
