"use strict";
// `dependsOn` orders resources that have no values in common.
const { resource } = require("./resources");
const a = resource("a", { create: 'sleep 0.3; echo "create a" >> "$CASE_LOG"' });
resource("b", {}, { dependsOn: [a] });
