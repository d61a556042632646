import * as assert from "node:assert/strict";

import { readSettings, readSourceSettings } from "../../config";
import { UserError } from "../../contract/errors";
import { handedJudgement, handOver, judged, plannedBuilds } from "../../source/handedPlans";
import { planBuilds } from "../../source/plan";
import { TemporaryDirectory, TemporaryRepository } from "../helpers/temporary";

describe("plans that are handed over", () => {
    let repository: TemporaryRepository;
    let project: TemporaryDirectory;

    beforeEach(() => {
        repository = new TemporaryRepository();
        project = new TemporaryDirectory();
        repository.file("Dockerfile", "FROM scratch\n");
        repository.file("Makefile", "build:\n\ttrue\n");
        repository.commit();
    });
    afterEach(() => {
        repository.remove();
        project.remove();
    });

    const configOf = (more: Readonly<Record<string, string>> = {}) => {
        const values: Readonly<Record<string, string>> = { source: repository.path, ...more };
        return { get: (key: string) => values[key] };
    };
    /** As `ke1` does, of the configuration alone. */
    const handed = (more: Readonly<Record<string, string>> = {}) => {
        const settings = readSourceSettings(configOf(more), {});
        const plans = planBuilds(settings, project.path);
        return { plans, environment: handOver({ settings, projectDirectory: project.path, plans }) };
    };
    /** As the program does, of all its settings. */
    const planned = (environment: NodeJS.ProcessEnv, more: Readonly<Record<string, string>> = {}) =>
        plannedBuilds(
            readSettings(
                configOf({
                    kubeContext: "somewhere",
                    registry: "r.example/x",
                    blobEndpoint: "https://b.example",
                    ...more,
                }),
                { project: "ke-1-build", stack: "dev" },
                {},
            ),
            project.path,
            environment,
        );

    it("are taken, though the repository has gone on, and are the same as without", () => {
        const { plans, environment } = handed();
        assert.deepEqual(JSON.parse(JSON.stringify(planned({}))), JSON.parse(JSON.stringify(plans)));
        repository.file("more", "1");
        repository.commit();
        assert.equal(planned(environment)[0]?.buildTag, plans[0]?.buildTag);
        assert.notEqual(planned({})[0]?.buildTag, plans[0]?.buildTag);
    });

    it("are not taken for other settings or another project", () => {
        const { environment, plans } = handed();
        repository.file("more", "1");
        const next = repository.commit();
        assert.equal(planned(environment, { command: '["make", "it"]' })[0]?.buildTag, next);
        const [plan] = plannedBuilds(readSourceSettings(configOf(), {}), `${project.path}/..`, environment);
        assert.equal(plan?.buildTag, next);
        assert.throws(() => planned(environment, { buildTags: '["absent"]' }), UserError);
        assert.notEqual(plans[0]?.buildTag, next);
    });

    it("have been judged: that is not done again for the same settings of the same project", () => {
        const given = { kubeContext: "somewhere", registry: "r.example/x", blobEndpoint: "https://b.example" };
        const settingsOf = (more: Readonly<Record<string, string>> = {}) =>
            readSettings(configOf({ ...given, ...more }), { project: "ke-1-build", stack: "dev" }, {});
        const sources = readSourceSettings(configOf(), {});
        const plans = planBuilds(sources, project.path);
        const judgement = judged(settingsOf(), ["a rule that only the cluster can judge"]);
        const environment = handOver({
            ...{ settings: sources, projectDirectory: project.path, plans },
            judged: judgement,
        });
        assert.deepEqual(handedJudgement(settingsOf(), project.path, environment), judgement.notes);
        assert.equal(handedJudgement(settingsOf({ cpuRequest: "3" }), project.path, environment), undefined);
        assert.equal(handedJudgement(settingsOf(), `${project.path}/..`, environment), undefined);
        assert.equal(handedJudgement(settingsOf(), project.path, handed().environment), undefined);
        assert.equal(handedJudgement(settingsOf(), project.path, {}), undefined);
    });

    it("are not handed over where they are more than a variable can have", () => {
        const { plans } = handed();
        const settings = readSourceSettings(configOf(), {});
        const many = Array.from({ length: 500 }, () => plans[0]!);
        assert.deepEqual(handOver({ settings, projectDirectory: project.path, plans: many }), {});
        assert.deepEqual(handOver({ settings, projectDirectory: project.path, plans: [] }), {});
        assert.deepEqual(Object.keys(handed().environment), ["KE1_PLANS"]);
    });
});
