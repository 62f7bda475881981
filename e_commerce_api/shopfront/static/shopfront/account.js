// The account page: shows one step at a time and speaks to /_allauth/browser/v1/. All words are in the document.

const API = "/_allauth/browser/v1";
const COOL_DOWN = 60; // seconds between two mails to one address, as the server counts them
const ADDRESS = "address"; // kept for this tab, so that a reload still says where the mail goes

const find = (selector, root = document) => root.querySelector(selector);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const word = (name) => find(`[data-word="${name}"]`, find("#words").content).textContent;

function cookie(name) {
  return document.cookie.split("; ").find((each) => each.startsWith(`${name}=`))?.split("=")[1] ?? "";
}

async function call(method, path, body) {
  const answer = await fetch(path, {
    method,
    credentials: "same-origin",
    headers: { "Content-Type": "application/json", "X-CSRFToken": cookie("csrftoken"), Accept: "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const isJson = answer.headers.get("Content-Type")?.includes("json");
  return { status: answer.status, ...(isJson ? await answer.json() : {}) };
}

function say(text, good = true) {
  const notice = find("#notice");
  notice.hidden = !text;
  notice.textContent = text;
  notice.classList.toggle("bad", !good);
}

function show(step) {
  for (const section of all("[data-step]")) section.hidden = section.id !== step;
  for (const place of all("[data-address]")) place.textContent = sessionStorage.getItem(ADDRESS) ?? "";
  find(`#${step}-title`).focus();
}

function go(step) {
  history.replaceState(null, "", `#${step}`);
  show(step);
}

function pending(answer, flow) {
  return answer.data?.flows?.some((each) => each.id === flow && each.is_pending) ?? false;
}

async function showMails() {
  const list = find("[data-mails]");
  const answer = await call("GET", "/api/account/emails/");
  const when = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: "medium", timeStyle: "short" });
  list.replaceChildren(
    ...(answer.results ?? []).map((mail) => {
      const item = document.createElement("li");
      const kind = document.createElement("strong");
      const rest = document.createElement("span");
      kind.textContent = mail.kind;
      rest.textContent = `${when.format(new Date(mail.created_at))} · ${mail.in_words}`;
      item.append(kind, rest);
      return item;
    }),
  );
}

async function arrive(user) {
  sessionStorage.setItem(ADDRESS, user.email);
  show("done");
  await showMails();
}

// Where is this customer? The server knows; the address behind # says what he wants if he is nowhere.
function follow(answer) {
  if (answer.status === 200 && answer.meta?.is_authenticated) return arrive(answer.data.user);
  if (pending(answer, "verify_email")) return wait("verify");
  if (pending(answer, "password_reset_by_code")) return show("choose");
  const wanted = location.hash.slice(1);
  return show(["register", "login", "reset"].includes(wanted) ? wanted : "register");
}

function wait(step) {
  show(step);
  countDown();
}

let clock;
function countDown() {
  const button = find("[data-resend]");
  const place = find("[data-countdown]");
  const until = Number(sessionStorage.getItem("until") ?? 0);
  clearInterval(clock);
  const tick = () => {
    const left = Math.ceil((until - Date.now()) / 1000);
    button.setAttribute("aria-disabled", String(left > 0));
    place.textContent = left > 0 ? `(${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")})` : "";
    if (left <= 0) clearInterval(clock);
  };
  tick();
  clock = setInterval(tick, 1000);
}

function mailed() {
  sessionStorage.setItem("until", String(Date.now() + COOL_DOWN * 1000));
}

function showErrors(form, answer) {
  let first;
  for (const place of all("[data-error]", form)) {
    const words = (answer.errors ?? []).filter((each) => each.param === place.dataset.error).map((each) => each.message);
    const input = form.elements[place.dataset.error];
    place.textContent = words.join(" ");
    input.setAttribute("aria-invalid", String(words.length > 0));
    if (words.length) first ??= input;
  }
  first?.focus();
  const rest = (answer.errors ?? []).filter((each) => !each.param).map((each) => each.message);
  if (rest.length) say(rest.join(" "), false);
}

const actions = {
  async register(form, values) {
    sessionStorage.setItem(ADDRESS, values.email);
    const answer = await call("POST", `${API}/auth/signup`, values);
    if (pending(answer, "verify_email")) mailed();
    return answer;
  },
  async login(form, values) {
    sessionStorage.setItem(ADDRESS, values.email);
    const answer = await call("POST", `${API}/auth/login`, values);
    if (pending(answer, "verify_email")) mailed();
    return answer;
  },
  async verify(form, values) {
    const answer = await call("POST", `${API}/auth/email/verify`, values);
    if (answer.status === 200) say(word("confirmed"));
    return answer;
  },
  async resend() {
    if (find("[data-resend]").getAttribute("aria-disabled") === "true") return undefined;
    const answer = await call("POST", `${API}/auth/email/verify/resend`);
    if (answer.status === 200) {
      mailed();
      say(word("resent"));
      return wait("verify");
    }
    return answer.status === 403 ? { status: 429 } : answer;
  },
  reset: (form, values) => call("POST", `${API}/auth/password/request`, values),
  async choose(form, values) {
    const answer = await call("POST", `${API}/auth/password/reset`, values);
    if (answer.status === 401) {
      say(word("changed"));
      return go("login");
    }
    return answer;
  },
  async logout() {
    await call("DELETE", `${API}/auth/session`);
    sessionStorage.clear();
    return go("login");
  },
};

async function submit(event) {
  event.preventDefault();
  const form = event.target;
  if (form.dataset.busy) return;
  form.dataset.busy = "yes";
  say("");
  try {
    const answer = await actions[form.dataset.form](form, Object.fromEntries(new FormData(form)));
    if (!answer) return;
    showErrors(form, answer);
    if (answer.status === 429) say(word("wait"), false);
    else if (answer.status === 409 || answer.status === 410) {
      follow(await call("GET", `${API}/auth/session`));
      say(word("again"), false);
    } else if (answer.status >= 500) say(word("offline"), false);
    else if (answer.status !== 400) await follow(answer);
  } catch {
    say(word("offline"), false);
  } finally {
    delete form.dataset.busy;
  }
}

for (const form of all("[data-form]")) form.addEventListener("submit", submit);
for (const link of all("[data-restart]"))
  link.addEventListener("click", async (event) => {
    event.preventDefault();
    await call("DELETE", `${API}/auth/session`);
    go(link.hash.slice(1));
  });
for (const button of all("[data-language]"))
  button.addEventListener("click", () => {
    document.cookie = `language=${button.dataset.language}; path=/; max-age=31536000; SameSite=Lax`;
    location.reload();
  });
addEventListener("hashchange", async () => {
  say("");
  follow(await call("GET", `${API}/auth/session`));
});

call("GET", `${API}/auth/session`).then(follow, () => say(word("offline"), false));
