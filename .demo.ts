import { BuildkiteServer } from "./tests/helpers/buildkite";
import { RunningSpawner, until } from "./tests/helpers/buildkiteSpawner";
import { TemporaryStack } from "./tests/helpers/ke1";
import { BuildableRepository } from "./tests/helpers/buildable";
import { TemporaryDirectory } from "./tests/helpers/temporary";
(async () => {
  const server = await new BuildkiteServer({ registrationToken: "reg" }).start();
  const stack = new TemporaryStack("spawn", { admission: false });
  const repository = new BuildableRepository(["mkdir -p bin", "echo hello > bin/greeting"]); repository.commit();
  const s = new TemporaryDirectory();
  const sp = new RunningSpawner(stack, server, s.file("token", "reg", 0o600), ["--queue", "q", ...(process.env.SHOW ? ["--show-logs"] : [])]);
  try {
    sp.start();
    const jobs = JSON.parse(process.env.JOBS ?? '[["make build", {}]]').map(([cmd, env]: any) => server.schedule({ BUILDKITE_REPO: repository.path, BUILDKITE_COMMIT: repository.git("rev-parse", "HEAD"), BUILDKITE_COMMAND: cmd, BUILDKITE_PIPELINE_SLUG: "shop", BUILDKITE_BUILD_NUMBER: "7", ...env }, { queue: "q" }));
    for (const job of jobs) {
      const t = Date.now();
      await until(() => job.state === "finished", "end", () => sp.output + server.log(job)).catch((e) => console.log(e.message));
      console.log(`==== ${job.env.BUILDKITE_COMMAND} ${(Date.now() - t) / 1000} s`, job.state, job.exit); console.log(server.log(job).toString()); console.log(job.annotations[0]?.body, [...job.metaData]);
    }
    console.log("violations", server.violations); console.log(sp.output);
  } finally { const ids = require("fs").readdirSync(sp.data.path + "/builds"); await sp.end(); for (const id of ids) console.log(require("fs").readFileSync(sp.data.path + "/builds/" + id + "/launch.log", "utf8")); console.log(sp.output.split("\n").slice(-3)); await sp.remove(); await stack.remove(); await server.stop(); repository.remove(); s.remove(); }
})();
