"use strict";
// A preview runs nothing; what only a resource can say is unknown to the program.
const { resource, step } = require("./resources");
const a = resource("a", { value: `v${step}` });
a.stdout.apply((text) => require("node:fs").appendFileSync(process.env.CASE_LOG, `applied ${text}\n`));
resource("b", { value: a.stdout });
