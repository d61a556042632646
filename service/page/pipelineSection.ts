import { isPassed } from "../../contract/pipeline";
import type { StepResult } from "../../contract/pipeline";
import { durationText } from "./format";
import type { BuildView } from "./buildPage";
import type { Markup } from "./html";
import { html } from "./html";

/** The drawing of a pipeline, and how its steps ended as a table: what a drawing cannot tell everybody. */
export function pipelineSection({ build, pipeline, drawing }: BuildView): Markup | undefined {
    if (pipeline === undefined && drawing === undefined) {
        return undefined;
    }
    return html`<section aria-labelledby="pipeline-title">
        <h2 id="pipeline-title">Pipeline</h2>
        ${
            drawing !== undefined &&
            html`<div class="scroll drawing" role="region" aria-label="Drawing of the pipeline" tabindex="0">
                <img src="/builds/${encodeURIComponent(build.id)}/pipeline.svg?state=${build.state}" alt="${drawing}" />
            </div>`
        }
        ${
            pipeline &&
            html`<div class="scroll" role="region" aria-label="Table of steps" tabindex="0">
                <table>
                    <thead>
                        <tr>
                            <th scope="col">Stage</th>
                            <th scope="col">Step</th>
                            <th scope="col">Outcome</th>
                            <th scope="col" class="number">Took</th>
                            <th scope="col">Why</th>
                        </tr>
                    </thead>
                    <tbody>
                        ${pipeline.stages.flatMap((stage) =>
                            stage.steps.map(
                                (step) =>
                                    html`<tr>
                                        <td>${stage.name}</td>
                                        <th scope="row">${step.name}</th>
                                        <td>${outcomeOf(step)}</td>
                                        <td class="number">${step.seconds > 0 ? durationText(step.seconds) : ""}</td>
                                        <td>${step.message}</td>
                                    </tr>`,
                            ),
                        )}
                    </tbody>
                </table>
            </div>`
        }
    </section>`;
}

function outcomeOf({ outcome, tolerated }: StepResult): Markup {
    const kind = outcome === "Skipped" ? "cancelled" : isPassed(outcome) ? "succeeded" : "failed";
    const sign = { cancelled: "⊘", succeeded: "✓", failed: "✕" }[kind];
    return html`<span class="state ${kind}"
        ><span aria-hidden="true">${sign}</span> ${outcome}${tolerated && ", tolerated"}</span
    >`;
}
