// The pages work without this script. It sends what people do about an anomaly, copies messages, and refreshes pages.
const REFRESH = 30_000;
const NAME = "anomaly-exporter-name";

// What a button does: method, path, body, what is said then, and what takes it back.
function deed(act, fields) {
  const [kind, verdict] = act.split(":");
  return {
    acknowledge: ["POST", "acknowledge", fields, "Acknowledged.", "unacknowledge"],
    unacknowledge: ["DELETE", "acknowledge", null, "The acknowledgement was taken back.", "acknowledge"],
    verdict: ["POST", "feedback", { verdict, ...fields }, "Thank you; noted.", "withdraw"],
    withdraw: ["DELETE", "feedback", null, "The verdict was taken back.", null],
  }[kind];
}

const status = document.getElementById("status");
let undo = null;

function say(text, kind) {
  status.className = `said ${kind}`;
  status.textContent = text;
  if (undo) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Undo";
    button.addEventListener("click", undo);
    status.append(" ", button);
  }
}

async function send(anomaly, act, fields) {
  const [method, path, body, done, back] = deed(act, fields);
  undo = null;
  say("Sending …", "muted");
  try {
    const answer = await fetch(`api/v1/anomalies/${anomaly}/${path}`, {
      method,
      headers: body ? { "Content-Type": "application/json" } : {},
      body: body ? JSON.stringify(body) : undefined,
    });
    const content = await answer.json().catch(() => ({}));
    if (!answer.ok) {
      throw new Error(content.error || `${answer.status} ${answer.statusText}`);
    }
    undo = back && (() => send(anomaly, back, { comment: "", who: fields.who }));
    say(done, "good");
    await renew();
  } catch (fault) {
    undo = null;
    say(`Not done: ${fault.message}`, "bad");
  }
}

function arm(form) {
  form.hidden = false;
  // Who logs in has a name already.
  const name = form.querySelector("[name=who]");
  if (name) {
    name.value = localStorage.getItem(NAME) || "";
  }
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const { act, comment, who = "" } = Object.fromEntries(new FormData(form, event.submitter));
    if (name) {
      localStorage.setItem(NAME, who);
    }
    send(form.dataset.anomaly, act, { comment, who });
  });
}

async function fetched() {
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (!answer.ok) {
    throw new Error(`${answer.status}`);
  }
  return new DOMParser().parseFromString(await answer.text(), "text/html");
}

// The parts of a page that an act changes; charts stay as they are.
async function renew() {
  const page = await fetched();
  document.querySelectorAll("[data-live]").forEach((part) => {
    const other = page.getElementById(part.id);
    if (other) {
      part.replaceWith(document.adoptNode(other));
    }
  });
  begin();
}

function isTyping() {
  return document.activeElement?.matches("input, textarea, select") || String(document.getSelection());
}

document.addEventListener("keydown", (event) => {
  const form = document.querySelector("form[data-anomaly]");
  if (!form || isTyping() || event.ctrlKey || event.metaKey || event.altKey) {
    return;
  }
  if (event.key === "a") {
    form.querySelector("[value=acknowledge]")?.click();
  } else if (event.key === "c") {
    form.querySelector("[name=comment]").focus();
  } else if (event.key === "u" && undo) {
    undo();
  } else {
    return;
  }
  event.preventDefault();
});

function begin() {
  document.querySelectorAll("form[data-anomaly][hidden]").forEach(arm);
  document.querySelectorAll("button[data-copy][hidden]").forEach((button) => {
    const message = document.getElementById(button.dataset.copy);
    if ("address" in message.dataset) {
      message.textContent += ` ${location.href}`;
    }
    button.hidden = false;
    button.addEventListener("click", async () => {
      undo = null;
      try {
        await navigator.clipboard.writeText(message.textContent);
        say("Copied.", "good");
      } catch {
        // Over plain HTTP a browser does not let a page write there: the text is selected for the user.
        document.getSelection().selectAllChildren(message);
        say("Selected: copy it with the keyboard.", "muted");
      }
    });
  });
}

// The page is not refreshed while the user types, selects text, or moves by keyboard.
function isBusy(main) {
  return document.hidden || main.contains(document.activeElement) || String(document.getSelection());
}

async function refresh(main) {
  if (isBusy(main)) {
    return;
  }
  try {
    const page = await fetched();
    if (isBusy(main)) {
      return;
    }
    main.replaceChildren(...page.querySelector("main").childNodes);
    // The target of the address was replaced, too.
    main.querySelector(".verdicts")?.classList.toggle("all", location.hash === "#all-series");
    document.querySelector("footer").replaceWith(page.querySelector("footer"));
  } catch {
    // The exporter does not answer; the page shows how old it is.
  }
}

// What other settings would have made of the alerts takes up to two seconds, so it is asked for once it comes into view.
async function compare(part) {
  try {
    const answer = await fetch(part.dataset.whatIf, { headers: { Accept: "text/html" } });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const best = page.querySelector("[aria-labelledby=outcomes] .cards p, [aria-labelledby=outcomes] .empty");
    if (answer.ok && best) {
      const text = document.createElement("p");
      text.className = "outcome";
      text.append(...document.adoptNode(best).childNodes);
      part.before(text);
    }
  } catch {
    // The link is there.
  }
}

const inView = new IntersectionObserver((entries) => entries.filter((entry) => entry.isIntersecting).forEach((entry) => {
  inView.unobserve(entry.target);
  compare(entry.target);
}));
document.querySelectorAll("[data-what-if]").forEach((part) => inView.observe(part));

// What takes seconds says so, and for how long.
document.querySelectorAll("form[data-slow]").forEach((form) => form.addEventListener("submit", () => {
  const began = performance.now();
  form.querySelector("button").disabled = true;
  setInterval(() => say(`${form.dataset.slow} ${Math.round((performance.now() - began) / 1000)} s`, "muted"), 500);
}));
addEventListener("pageshow", (event) => event.persisted && location.reload());

begin();
const main = document.querySelector("main[data-fresh]");
if (main) {
  setInterval(refresh, REFRESH, main);
}
