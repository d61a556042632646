"use strict";
// A resource is the business of the provider that the program gives it, or its component.
const { resource, Component } = require("./resources");
const command = require("@pulumi/command");
const provider = new command.Provider("mine");
resource("a", {}, { provider });
new Component("c", (parent) => resource("b", {}, { parent }), { providers: [provider] });
