import type { Artifact } from "../../contract/manifest";
import type { PipelineResult } from "../../contract/pipeline";
import type { BuildEvent, BuildRecord } from "../build";
import { isFinal } from "../build";
import { durationsOf } from "./durations";
import { durationText, nameOf, secondsOf, shortSource, sizeText, timeText } from "./format";
import type { Markup } from "./html";
import { html } from "./html";
import type { AssetAddresses, Viewer } from "./layout";
import { csrfField, documentOf } from "./layout";
import { addressOf } from "./listQuery";
import { stateOf } from "./listPage";
import { logSection } from "./logSection";
import { pipelineSection } from "./pipelineSection";

export interface BuildView {
    readonly build: BuildRecord;
    /** The oldest first. */
    readonly events: readonly BuildEvent[];
    /** Undefined where no manifest is there. */
    readonly artifacts?: readonly Artifact[];
    /** How a pipeline's steps ended. */
    readonly pipeline?: PipelineResult;
    /** Whether there is a drawing of the pipeline, and what it says in words. */
    readonly drawing?: string;
    /** Which of its logs is shown: what the build printed, or what its launcher did. */
    readonly of: "build" | "launcher";
    /** The last lines of the log, as plain text. */
    readonly tail: string;
    /** Other builds of the same thing, and this one; the newest first. */
    readonly alike: readonly BuildRecord[];
    /** Whether the viewer may end it, or have it run again. */
    readonly mayAct: boolean;
    readonly viewer: Viewer;
    readonly assets: AssetAddresses;
    readonly now: Date;
}

/** One build: its state, log, artifacts, pipeline, and what happened to it. */
export function buildPage(view: BuildView): Markup {
    const { build, viewer, assets } = view;
    const durations = durationsOf(view.alike, build.id);
    const name = build.buildTag === undefined ? nameOf(build) : `${nameOf(build)} ${build.buildTag}`;
    return documentOf({
        title: `${name}: ${build.state}`,
        assets,
        viewer,
        keys: [
            ["/", "search the log"],
            ["Enter", "next match; with Shift the one before"],
            ["n p", "next and previous match"],
            ["f", "follow the log"],
            ["j k", "next and previous line"],
            ["Home End", "begin and end of the log"],
        ],
        main: html`<nav aria-label="Breadcrumbs" class="crumbs"><a href="/builds">Builds</a></nav>
            <div
                class="head"
                data-refresh="head"
                data-build="${build.id}"
                data-state="${build.state}"
                data-seq="${view.events.at(-1)?.seq ?? 0}"
            >
                <h1>
                    ${nameOf(build)}${build.buildTag !== undefined && html` <span class="tag">${build.buildTag}</span>`}
                </h1>
                ${stateOf(build)} ${view.mayAct && actions(build, viewer)}
            </div>
            <div data-refresh="summary">
                ${build.message !== undefined && html`<p class="${build.state === "failed" ? "problem" : "note"}">${build.message}</p>`}
                ${summary(view)}
            </div>
            <div data-refresh="pipeline">${pipelineSection(view)}</div>
            ${logSection(view)}
            <div data-refresh="artifacts">${artifactSection(view)}</div>
            <div data-refresh="durations">
                ${
                    durations &&
                    html`<section aria-labelledby="durations-title">
                        <h2 id="durations-title">Durations</h2>
                        ${durations}
                    </section>`
                }
            </div>
            <div data-refresh="events">${eventSection(view.events)}</div>`,
    });
}

function actions(build: BuildRecord, viewer: Viewer): Markup {
    const path = `/builds/${encodeURIComponent(build.id)}`;
    return isFinal(build.state)
        ? html`<form method="post" action="${path}/again">${csrfField(viewer)}<button>Run again</button></form>`
        : html`<form method="post" action="${path}/cancel">
              ${csrfField(viewer)}<button class="danger">Cancel the build</button>
          </form>`;
}

function summary({ build, now }: BuildView): Markup {
    const { request } = build;
    const seconds = secondsOf(build, now);
    const rows: readonly (readonly [string, Markup | string | undefined])[] = [
        ["Source", shortSource(request.source)],
        ["Ref", request.ref || undefined],
        ["Commit", build.commit && html`<code>${build.commit}</code>`],
        ["Outcome", build.outcome],
        ["Asked for by", build.caller],
        ["Made", html`<time datetime="${build.createdAt}">${timeText(build.createdAt)}</time>`],
        ["Started", build.startedAt && html`<time datetime="${build.startedAt}">${timeText(build.startedAt)}</time>`],
        [isFinal(build.state) ? "Took" : "Running for", seconds === undefined ? undefined : durationText(seconds)],
        ["Lane", request.lane],
        ["Stack", build.kept && isFinal(build.state) ? `${build.stack} (kept)` : build.stack],
        ["Namespace", build.namespace],
    ];
    const labels = Object.entries(request.labels);
    return html`<dl class="summary">
        ${rows.map(
            ([name, value]) =>
                value !== undefined &&
                html`<div>
                    <dt>${name}</dt>
                    <dd>${value}</dd>
                </div>`,
        )}
        ${
            labels.length > 0 &&
            html`<div class="wide">
                <dt>Labels</dt>
                <dd>${labels.map(([key, value]) => label(`${key}=${value}`))}</dd>
            </div>`
        }
    </dl>`;
}

function label(text: string): Markup {
    return /\s/.test(text)
        ? html`<span class="label">${text}</span> `
        : html`<a class="label" href="${addressOf({ text: "", labels: [text] })}">${text}</a> `;
}

function artifactSection({ artifacts, build }: BuildView): Markup {
    const path = `/builds/${encodeURIComponent(build.id)}/artifacts`;
    const total = (artifacts ?? []).reduce((sum, { size }) => sum + size, 0);
    return html`<section aria-labelledby="artifacts-title">
        <h2 id="artifacts-title">Artifacts</h2>
        ${
            artifacts === undefined || artifacts.length === 0
                ? html`<p class="empty">
                      ${isFinal(build.state) ? "There are none." : "They are here when the build is done."}
                  </p>`
                : html`<div class="scroll" role="region" aria-label="Table of artifacts" tabindex="0">
                          <table>
                              <thead>
                                  <tr>
                                      <th scope="col">Name</th>
                                      <th scope="col" class="number">Size</th>
                                      <th scope="col">SHA-256</th>
                                      <th scope="col">Type</th>
                                  </tr>
                              </thead>
                              <tbody>
                                  ${artifacts.map(
                                      ({ name, size, sha256, mediaType, executable }) =>
                                          html`<tr>
                                              <th scope="row">
                                                  <a
                                                      href="${path}/${name.split("/").map(encodeURIComponent).join("/")}"
                                                      download
                                                      >${name}</a
                                                  >
                                              </th>
                                              <td class="number" title="${size} bytes">${sizeText(size)}</td>
                                              <td><code class="digest">${sha256}</code></td>
                                              <td>${mediaType}${executable && ", executable"}</td>
                                          </tr>`,
                                  )}
                              </tbody>
                          </table>
                      </div>
                      <p class="note">
                          ${artifacts.length} ${artifacts.length === 1 ? "file" : "files"}, ${sizeText(total)}.
                          <code>ke1 artifacts ${build.buildTag ?? ""} --to DIR</code> fetches and verifies them all.
                      </p>`
        }
    </section>`;
}

function eventSection(events: readonly BuildEvent[]): Markup {
    return html`<section aria-labelledby="events-title">
        <h2 id="events-title">Events</h2>
        <ol class="events">
            ${events.map(
                ({ at, type, data }) =>
                    html`<li>
                        <time datetime="${at}">${timeText(at)}</time> <strong>${type}</strong>
                        <span>${detailsOf(data)}</span>
                    </li>`,
            )}
        </ol>
    </section>`;
}

function detailsOf(data: BuildEvent["data"]): string {
    return Object.entries(data)
        .filter(([, value]) => value !== undefined && value !== null && value !== "")
        .map(([key, value]) => `${key}: ${typeof value === "string" ? value : JSON.stringify(value)}`)
        .join(", ");
}
