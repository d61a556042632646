"use strict";
// A component's children have its type in their URN, and go before it.
const { resource, Component } = require("./resources");
const outer = new Component("outer", (parent) => {
    resource("child", {}, { parent });
    return new Component("inner", (inner) => resource("grandchild", {}, { parent: inner }), { parent });
});
exports.made = outer.made.made.stdout;
