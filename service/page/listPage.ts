import type { BuildRecord } from "../build";
import { buildStates } from "../build";
import { durationsOf } from "./durations";
import { durationText, minuteText, nameOf, secondsOf, shortSource, stateSigns } from "./format";
import type { Markup } from "./html";
import { html } from "./html";
import type { AssetAddresses, Viewer } from "./layout";
import { documentOf } from "./layout";
import type { ListQuery } from "./listQuery";
import { addressOf } from "./listQuery";

export interface ListView {
    readonly query: ListQuery;
    /** The newest first. */
    readonly builds: readonly BuildRecord[];
    /** The last one of this page, where there are more after it. */
    readonly next?: string;
    /** What the filter could not make sense of. */
    readonly problem?: string;
    readonly viewer: Viewer;
    readonly assets: AssetAddresses;
    readonly now: Date;
}

/** The builds: a form that filters, a table, and how long they took. */
export function listPage(view: ListView): Markup {
    const { query, builds, viewer, assets } = view;
    const durations = durationsOf(builds);
    return documentOf({
        title: "Builds",
        assets,
        viewer,
        keys: [
            ["/", "go to the filter"],
            ["j k", "next and previous build"],
            ["Home End", "first and last build"],
            ["Enter", "open the build"],
        ],
        main: html`<h1>Builds</h1>
            ${filterForm(query)}
            ${view.problem !== undefined && html`<p class="problem" role="alert">${view.problem}</p>`}
            <div id="builds" data-refresh="list">
                ${builds.length === 0 ? html`<p class="empty">${emptyText(query)}</p>` : table(view)}
                <nav class="pages" aria-label="Pages">
                    ${query.before !== undefined && html`<a href="${addressOf({ ...query, before: undefined })}">Newest</a>`}
                    ${view.next !== undefined && html`<a rel="next" href="${addressOf({ ...query, before: view.next })}">Older</a>`}
                </nav>
            </div>
            ${
                durations &&
                html`<section aria-labelledby="durations-title" id="durations" data-refresh="durations">
                    <h2 id="durations-title">Durations</h2>
                    ${durations}
                </section>`
            }`,
    });
}

function filterForm(query: ListQuery): Markup {
    return html`<form class="filter" method="get" action="/builds" role="search" aria-label="Builds">
        <label
            >Text
            <input
                type="search"
                name="text"
                id="filter"
                value="${query.text}"
                maxlength="200"
                placeholder="source, tag, commit, message"
        /></label>
        <label
            >Label
            <input
                type="text"
                name="label"
                value="${query.labels.join(" ")}"
                maxlength="400"
                placeholder="app=web branch=main"
                spellcheck="false"
        /></label>
        <label
            >State
            <select name="state">
                <option value="">any</option>
                ${buildStates.map((state) => html`<option${state === query.state && html` selected`}>${state}</option>`)}
            </select></label
        >
        <button>Filter</button>
        ${(query.text !== "" || query.labels.length > 0 || query.state !== undefined) && html`<a href="/builds">All</a>`}
    </form>`;
}

function emptyText(query: ListQuery): string {
    const isFiltered = query.text !== "" || query.labels.length > 0 || query.state !== undefined;
    return isFiltered || query.before !== undefined ? "No builds match." : "There are no builds yet.";
}

function table({ builds, now, query }: ListView): Markup {
    return html`<div class="scroll" role="region" aria-labelledby="builds-caption" tabindex="0">
        <table class="builds">
            <caption id="builds-caption" class="unseen">
                Builds, the newest first
            </caption>
            <thead>
                <tr>
                    <th scope="col">State</th>
                    <th scope="col">Build</th>
                    <th scope="col">Source</th>
                    <th scope="col">Labels</th>
                    <th scope="col">Made (UTC)</th>
                    <th scope="col" class="number">Took</th>
                </tr>
            </thead>
            <tbody>
                ${builds.map((build) => row(build, query, now))}
            </tbody>
        </table>
    </div>`;
}

function row(build: BuildRecord, query: ListQuery, now: Date): Markup {
    const seconds = secondsOf(build, now);
    const labels = Object.entries(build.request.labels).slice(0, 6);
    return html`<tr data-build="${build.id}" data-state="${build.state}">
        <td>${stateOf(build)}</td>
        <th scope="row">
            <a class="build" href="/builds/${encodeURIComponent(build.id)}"
                >${nameOf(build)}${build.buildTag !== undefined && html` <span class="tag">${build.buildTag}</span>`}</a
            >
            ${build.message !== undefined && html`<div class="message">${build.message}</div>`}
        </th>
        <td class="source">
            ${shortSource(build.request.source)}${build.request.ref && html` <span class="tag">${build.request.ref}</span>`}
        </td>
        <td>${labels.map(([key, value]) => labelLink(key, value, query))}</td>
        <td><time datetime="${build.createdAt}">${minuteText(build.createdAt)}</time></td>
        <td class="number">${seconds === undefined ? "" : durationText(seconds)}</td>
    </tr>`;
}

/** A label narrows the list when it is followed; one that the filter's field cannot say is only text. */
function labelLink(key: string, value: string, query: ListQuery): Markup {
    const text = `${key}=${value}`;
    if (/\s/.test(text) || key.includes("=") || value === "") {
        return html`<span class="label">${text}</span> `;
    }
    const labels = [...new Set([...query.labels, text])];
    return html`<a class="label" href="${addressOf({ ...query, labels, before: undefined })}">${text}</a> `;
}

/** Sign, word and colour. */
export function stateOf({ state }: Pick<BuildRecord, "state">): Markup {
    return html`<span class="state ${state}"><span aria-hidden="true">${stateSigns[state]}</span> ${state}</span>`;
}
