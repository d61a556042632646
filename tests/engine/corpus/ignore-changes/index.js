"use strict";
// A change of an ignored property does nothing; another one is carried out without it.
const { resource, step } = require("./resources");
resource(
    "a",
    {
        environment: { IGNORED: `${step}`, SEEN: step < 3 ? "x" : "y" },
        update: 'echo "update a $IGNORED $SEEN" >> "$CASE_LOG"',
    },
    { ignoreChanges: ["environment.IGNORED"] },
);
