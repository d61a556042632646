"use strict";
// Secret configuration, and what is made of it, is encrypted in the state.
const { resource } = require("./resources");
const pulumi = require("@pulumi/pulumi");
const password = new pulumi.Config().requireSecret("password");
const a = resource("a", {
    environment: { PASSWORD: password },
    create: 'echo "create a $PASSWORD" >> "$CASE_LOG"; echo "got $PASSWORD"',
});
exports.out = a.stdout;
exports.nested = { list: [pulumi.secret("deep-secret")], plain: "plain" };
