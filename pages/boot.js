// Begins anew where a file of the page does not come: browsers give up what they load whenever a network of the machine
// changes, and each guest that starts changes one. This stands in the page itself, so that it is there before all others.
const loads = (element) => element.matches?.("script, link[rel=stylesheet]");
addEventListener("error", ({ target }) => loads(target) && setTimeout(() => location.reload(), 1000), true);
