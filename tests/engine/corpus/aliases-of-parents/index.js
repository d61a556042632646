"use strict";
// A renamed component takes its children along; a moved resource keeps its state by its old parent.
const { resource, step, Component } = require("./resources");
const pulumi = require("@pulumi/pulumi");
if (step === 1) {
    new Component("first", (parent) => resource("child", {}, { parent }));
    resource("free");
} else {
    new Component(
        "second",
        (parent) => {
            resource("child", {}, { parent });
            resource("free", {}, { parent, aliases: [{ parent: pulumi.rootStackResource }] });
        },
        { aliases: [{ name: "first" }] },
    );
}
