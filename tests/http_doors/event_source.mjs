// Follows an event stream with the eventsource package and prints what it fires: node event_source.mjs URL
import { EventSource } from "eventsource";

const source = new EventSource(process.argv[2]);
const print = (said) => process.stdout.write(`${JSON.stringify(said)}\n`);
source.onopen = () => print({ fired: "open" });
source.onerror = ({ code }) => print({ fired: "error", code, state: source.readyState });
source.onmessage = ({ data, lastEventId }) => print({ ...JSON.parse(data), id: lastEventId });
