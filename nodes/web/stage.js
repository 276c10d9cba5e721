// The sheet in the browser: a click on a shot writes its id into the node that was selected, and
// badges say how far shots are. A node's result takes the place of its last preview, and a video
// on a node is no input of it. A saved board that is dropped on the canvas is loaded. Everything
// works without this script: that preview is a picture of the result.

import { app } from "../../scripts/app.js"
import { api } from "../../scripts/api.js"

const COLOURS = { planned: "#7e7971", drawn: "#9e680c", filmed: "#267a40" }
const PREVIEW = "$$canvas-image-preview"
const VIDEO = "video-preview"
const ARCHIVE = ".stage.zip"
const SIZE_LINE = 15
const CLICK_PIXELS = 5

// Sheets by the name of their file: {title, size: [width, height], panels: [{id, status, box}]}.
const sheets = new Map()
// How far shots are, {status, told, run} by the title of their film and then by id, and the titles
// of the films that nodes have told of: every film has a shot 1.
const statuses = new Map()
const titles = new Map()
// The node whose shot was last selected, and where the pointer went down.
let target = null
let pressed = null

const isOurs = node => String(node?.comfyClass ?? node?.type ?? "").startsWith("STAGE_")

const named = (node, name) => node?.widgets?.find(widget => widget.name === name)

const takesShots = node => isOurs(node) && Boolean(named(node, "shot") ?? named(node, "order"))

const graph = () => app.canvas?.graph ?? app.graph

const nodes = () => graph()?._nodes ?? []

const contains = ([left, top, width, height], [x, y]) =>
  x >= left && x < left + width && y >= top && y < top + height

function selected() {
  const items = app.canvas?.selectedItems ?? Object.values(app.canvas?.selected_nodes ?? {})
  return [...items]
}

function fileName(address) {
  try {
    return new URL(address, window.location.href).searchParams.get("filename") ?? ""
  } catch {
    return ""
  }
}

// A preview that is there when a node's result comes would stay in its place: the front end
// looks at both only then, and drops previews when the node begins to run again.

// The graph of a node by the path of ids that a run names it with, and its id there.
function place(path) {
  const ids = String(path).split(":")
  const id = ids.pop()
  let here = app.rootGraph ?? app.graph
  for (const outer of ids) here = here?.getNodeById(outer)?.subgraph
  return { node: here?.getNodeById(id), key: ids.length ? `${here?.id}:${id}` : id }
}

function dropPreview({ node: path, display_node: shown, output }) {
  const { node, key } = place(shown ?? path)
  if (!isOurs(node) || !output?.images?.length || !app.nodePreviewImages?.[key]) return
  // The store of this name is where Nodes 2.0 looks; the canvas looks into `app`.
  app.extensionManager?._p?._s?.get("nodeOutput")?.revokePreviewsByLocatorId?.(key)
  delete app.nodePreviewImages[key]
}

// The canvas keeps a video in a widget, which would go into the prompt: a graph that nobody has
// changed would be another one after its first run, and its film saved a second time.
function keepVideoOut(node) {
  const add = node.addDOMWidget
  if (!isOurs(node) && node.comfyClass !== "SaveVideo") return
  node.addDOMWidget = function (name, type, element, options) {
    const kept = name === VIDEO ? { ...options, serialize: false } : options
    return add.call(this, name, type, element, kept)
  }
}

// What a run says of its sheets, and of shots without one. In one run the word that was told last
// counts, in whatever order they come: what the host keeps of earlier runs is sent again.

function remember({ node: path, display_node: shown, output, prompt_id: run }) {
  const pages = output?.stage_panels
  if (!Array.isArray(pages)) return
  const { node } = place(shown ?? path)
  for (const page of pages) {
    if (page.filename) sheets.set(page.filename, page)
    if (isOurs(node)) titles.set(nameOf(node), page.title)
    const film = statuses.get(page.title) ?? new Map()
    const told = page.told ?? 0
    for (const { id, status } of page.panels ?? []) {
      const known = film.get(id)
      if (known?.run !== run || known.told <= told) film.set(id, { status, told, run })
    }
    statuses.set(page.title, film)
  }
  nodes().forEach(showStatus)
}

// Stays the same when a workflow is opened again.
const nameOf = node => `${(app.rootGraph ?? app.graph)?.id} ${node.graph?.id} ${node.id}`

function linked(node) {
  const links = node.graph?.links
  const link = id => links?.get?.(id) ?? links?.[id]
  const above = (node.inputs ?? []).map(input => link(input.link)?.origin_id)
  const leaving = (node.outputs ?? []).flatMap(output => output.links ?? [])
  const below = leaving.map(id => link(id)?.target_id)
  return [...above, ...below].map(id => node.graph?.getNodeById?.(id)).filter(Boolean)
}

// The title that the nearest node has told of, along the links.
function titleOf(node) {
  const around = new Set([node])
  for (const here of around) {
    if (titles.has(nameOf(here))) return titles.get(nameOf(here))
    for (const next of linked(here)) around.add(next)
  }
  return null
}

// Where a picture of this shape lies in a box, when all of it is seen: [left, top, scale].
function fitted([left, top, width, height], [own, high], most = Infinity) {
  const scale = Math.min(width / own, height / high, most)
  return [left + (width - own * scale) / 2, top + (height - high * scale) / 2, scale]
}

// The panel of a sheet at a point of the box that shows it.
function panelAt(image, box, point, most) {
  const sheet = sheets.get(fileName(image?.currentSrc || image?.src))
  const own = [image?.naturalWidth, image?.naturalHeight]
  if (!sheet?.size || !own[0] || !own[1]) return null
  const [left, top, scale] = fitted(box, own, most)
  const x = ((point[0] - left) / scale / own[0]) * sheet.size[0]
  const y = ((point[1] - top) / scale / own[1]) * sheet.size[1]
  return sheet.panels?.find(({ box: [l, t, r, b] }) => x >= l && x < r && y >= t && y < b) ?? null
}

// Nodes 2.0 shows a sheet as an element of the page.
function panelOnPage(event) {
  const point = [event.clientX, event.clientY]
  const holder = event.target?.closest?.("[data-node-id]")
  for (const image of holder?.querySelectorAll("img") ?? []) {
    const r = image.getBoundingClientRect()
    const box = [r.left, r.top, r.width, r.height]
    if (contains(box, point)) return panelAt(image, box, point)
  }
  return null
}

// The classic renderer draws it on the canvas.
function panelOnCanvas(event) {
  const canvas = app.canvas
  if (!canvas || event.target !== canvas.canvas) return null
  const at = canvas.convertEventToCanvasOffset?.(event)
  const node = at && graph()?.getNodeOnPos?.(at[0], at[1])
  if (!node?.imgs?.length) return null
  const point = [at[0] - node.pos[0], at[1] - node.pos[1]]
  const index = node.imageIndex ?? (node.imgs.length === 1 ? 0 : null)
  if (index === null) {
    const cell = (node.imageRects ?? []).findIndex(box => contains(box, point))
    return cell < 0 ? null : panelAt(node.imgs[cell], node.imageRects[cell], point)
  }
  const preview = named(node, PREVIEW)
  if (!preview) return null
  const line = app.ui?.settings?.getSettingValue?.("Comfy.Node.AllowImageSizeDraw") ?? true
  const height = (preview.computedHeight ?? 0) - (line ? SIZE_LINE : 0)
  const box = [0, preview.y ?? 0, preview.width || node.size[0], height]
  // A single picture is never shown larger than it is.
  return panelAt(node.imgs[index], box, point, 1)
}

// Into the node that was selected before, or the only one there is.

function receiver() {
  const here = nodes().filter(takesShots)
  if (here.includes(target)) return target
  return here.length === 1 ? here[0] : null
}

function put(panel) {
  const node = receiver()
  if (!node) return
  const widget = named(node, "shot") ?? named(node, "order")
  const before = String(widget.value ?? "").trim()
  widget.value = widget.name === "order" && before ? `${before}, ${panel.id}` : panel.id
  widget.callback?.(widget.value, app.canvas, node)
  showStatus(node)
  app.canvas?.setDirty?.(true, true)
  tell("info", `${node.title ?? node.type}: ${widget.name} ${widget.value}`, 1500)
}

const tell = (severity, detail, life) =>
  app.extensionManager?.toast?.add?.({ severity, summary: "STAGE", detail, life })

// How far the shot of a node is, as a badge of its colour.

function showStatus(node) {
  const Badge = window.LGraphBadge ?? window.LiteGraph?.LGraphBadge
  if (!isOurs(node) || !Badge || !Array.isArray(node.badges)) return
  const shot = named(node, "shot")
  const status = shot && statuses.get(titleOf(node))?.get(String(shot.value ?? "").trim())?.status
  const others = node.badges.filter(badge => !badge.ofStage)
  if (!status) {
    if (others.length < node.badges.length) node.badges = others
    return
  }
  const made = new Badge({ text: status, fgColor: "#ffffff", bgColor: COLOURS[status] ?? "#555555" })
  const badge = () => made
  badge.ofStage = true
  node.badges = [...others, badge]
}

function follow(node) {
  const widget = isOurs(node) && named(node, "shot")
  if (!widget) return
  const before = widget.callback
  widget.callback = function (...all) {
    const result = before?.apply(this, all)
    showStatus(node)
    return result
  }
  showStatus(node)
}

// A click that comes to nothing here goes its usual way, and so does one that does.

function onDown(event) {
  pressed = [event.clientX, event.clientY]
  target = selected().find(takesShots) ?? target
}

function onUp(event) {
  const from = pressed
  pressed = null
  if (!from || event.button !== 0) return
  if (Math.hypot(event.clientX - from[0], event.clientY - from[1]) > CLICK_PIXELS) return
  const panel = panelOnPage(event) ?? panelOnCanvas(event)
  if (panel) put(panel)
}

// A saved board that is dropped: into the input folder, and into a node that loads it.

const isSaved = file => file.name.toLowerCase().endsWith(ARCHIVE)

function onDrop(event) {
  const files = [...(event.dataTransfer?.files ?? [])]
  if (app.dragOverNode || !files.length || !files.every(isSaved)) return
  event.preventDefault()
  event.stopPropagation()
  const [x, y] = app.canvas.convertEventToCanvasOffset(event)
  files.forEach((file, number) => load(file, [x + 40 * number, y + 40 * number]))
}

async function load(file, position) {
  const { name } = file
  try {
    const loaded = await upload(file)
    const node = window.LiteGraph.createNode("STAGE_LoadStoryboard")
    node.pos = position
    graph().add(node)
    const widget = named(node, "file")
    const { values } = widget.options
    if (Array.isArray(values) && !values.includes(loaded)) values.push(loaded)
    widget.value = loaded
    widget.callback?.(loaded, app.canvas, node)
    app.canvas.setDirty?.(true, true)
  } catch (error) {
    console.debug("STAGE:", error)
    tell("error", `${name} could not be uploaded; put it into ComfyUI's input folder`, 8000)
  }
}

// The host would number a name that is taken behind `.stage`, where it is no saved board any more.
async function upload(file) {
  const known = await api.fetchApi("/object_info/STAGE_LoadStoryboard")
  const options = (await known.json()).STAGE_LoadStoryboard?.input?.required?.file ?? []
  const taken = options[1]?.options ?? options[0] ?? []
  const stem = file.name.slice(0, -ARCHIVE.length)
  let name = file.name
  for (let number = 2; taken.includes(name); number++) name = `${stem}_${number}${ARCHIVE}`
  const body = new FormData()
  body.append("image", file, name)
  const answer = await api.fetchApi("/upload/image", { method: "POST", body })
  if (!answer.ok) throw new Error(`${answer.status} ${answer.statusText}`)
  return (await answer.json()).name
}

// A front end that works in another way loses these helps, and nothing else.
function carefully(act) {
  return (...all) => {
    try {
      return act(...all)
    } catch (error) {
      console.debug("STAGE:", error)
    }
  }
}

app?.registerExtension?.({
  name: "stage.sheet",
  setup: carefully(() => {
    api?.addEventListener?.("executed", carefully(event => dropPreview(event.detail)))
    api?.addEventListener?.("executed", carefully(event => remember(event.detail)))
    window.addEventListener("pointerdown", carefully(onDown), true)
    window.addEventListener("pointerup", carefully(onUp), true)
    window.addEventListener("drop", carefully(onDrop), true)
  }),
  nodeCreated: carefully(node => {
    follow(node)
    keepVideoOut(node)
  }),
  loadedGraphNode: carefully(showStatus),
})
