"use strict";
// The children of a protected component are protected.
const { resource, step, Component } = require("./resources");
new Component("c", (parent) => resource("a", {}, { parent }), { protect: step === 1 });
