import { UserError } from "../contract/errors";

/**
 * Azure's public regions, by the names that its API takes
 * (`az account list-locations --query "[?metadata.regionType=='Physical'].name"`; https://learn.microsoft.com/azure/reliability/regions-list,
 * 2026-11).
 */
const locations: readonly string[] = [
    ..."australiacentral australiacentral2 australiaeast australiasoutheast austriaeast belgiumcentral".split(" "),
    ..."brazilsouth brazilsoutheast canadacentral canadaeast centralindia centralus chilecentral denmarkeast".split(
        " ",
    ),
    ..."eastasia eastus eastus2 francecentral francesouth germanynorth germanywestcentral indonesiacentral".split(" "),
    ..."israelcentral italynorth japaneast japanwest jioindiacentral jioindiawest koreacentral koreasouth".split(" "),
    ..."malaysiawest mexicocentral newzealandnorth northcentralus northeurope norwayeast norwaywest".split(" "),
    ..."polandcentral qatarcentral southafricanorth southafricawest southcentralus southeastasia southindia".split(" "),
    ..."spaincentral swedencentral swedensouth switzerlandnorth switzerlandwest uaecentral uaenorth uksouth".split(" "),
    ..."ukwest westcentralus westeurope westindia westus westus2 westus3".split(" "),
];

/**
 * The API's name of a region, which may be written as the portal shows it (`West Europe`).
 *
 * @throws UserError for a region that Azure does not have, with those that it may be a slip of.
 */
export function readLocation(value: string): string {
    const name = value.toLowerCase().replace(/ /g, "");
    if (locations.includes(name)) {
        return name;
    }
    const similar = locations.filter((location) => isSlip(name, location));
    const hint =
        similar.length > 0
            ? `; did you mean ${similar.join(" or ")}?`
            : "; `az account list-locations --output table` lists them";
    throw new UserError(`location must be a region of Azure; there is no \`${value}\`${hint}`);
}

/** Whether one letter was left out, added, changed, or swapped with its neighbour. */
function isSlip(a: string, b: string): boolean {
    let start = 0;
    while (start < a.length && a[start] === b[start]) {
        start++;
    }
    let end = 0;
    while (end < Math.min(a.length, b.length) - start && a.at(-1 - end) === b.at(-1 - end)) {
        end++;
    }
    const [restOfA, restOfB] = [a.slice(start, a.length - end), b.slice(start, b.length - end)];
    return (
        (restOfA.length <= 1 && restOfB.length <= 1) ||
        (restOfA.length === 2 && restOfA === `${restOfB[1] ?? ""}${restOfB[0] ?? ""}`)
    );
}
