/** Made from the Python traits by `python -m tools.traits`; do not edit. */

import type { Tree } from "./nodes";
import type {
  AnatomyBody,
  AnatomyDetail,
  AnatomyLook,
  AnatomyMeasured,
  AttentionEffect,
  AttentionHead,
  AttentionThumbs,
  AttentionTile,
  AttentionTokens,
  AttentionView,
  Bundle,
  ChatHead,
  ChatLive,
  ChatPath,
  CompareCells,
  CompareGrid,
  Header,
  LabAhead,
  LabPlace,
  LabView,
  LensHead,
  LensPlace,
  LensWindow,
  LoaderCatalogue,
  LoaderChoice,
  LoaderJob,
  LoaderModels,
  LoaderPlan,
  MemoryReadings,
  RoutingCost,
  RoutingEffect,
  RoutingExpert,
  RoutingHead,
  RoutingLoad,
  RoutingPaths,
  RoutingRoutes,
  RoutingTokens,
  RoutingView,
  SamplingState,
  TrainingCurves,
  TrainingHead,
  TrainingRecipe,
  TrainingSamples,
} from "./shapes";

export interface ReplyViewTraits {
  blocks: Tree[];
  error: string;
  final: Bundle;
  header: Header;
  notes: string[];
  revision: number;
  running: boolean;
  status: string;
  stoppable: boolean;
}

export interface LoaderPanelTraits {
  catalogue: LoaderCatalogue;
  choice: LoaderChoice;
  error: string;
  job: LoaderJob;
  models: LoaderModels;
  plan: LoaderPlan;
  twin: Bundle;
}

export interface PlanViewTraits {
  error: string;
  record: Bundle;
}

export interface StatusBarsTraits {
  error: string;
  memory: MemoryReadings;
  tables: Tree[];
  twin: Bundle;
}

export interface ChatPanelTraits {
  blocks: Tree[];
  error: string;
  head: ChatHead;
  live: ChatLive;
  path: ChatPath;
  revision: number;
  running: boolean;
  sampling: SamplingState;
  status: string;
  twin: Bundle;
}

export interface SamplingLabTraits {
  ahead: LabAhead;
  error: string;
  place: LabPlace;
  sampling: SamplingState;
  status: string;
  twin: Bundle;
  view: LabView;
}

export interface CompareViewTraits {
  cells: CompareCells;
  error: string;
  grid: CompareGrid;
  notes: string[];
  revision: number;
  running: boolean;
  status: string;
  stoppable: boolean;
  twin: Bundle;
}

export interface AnatomyViewTraits {
  body: AnatomyBody;
  detail: AnatomyDetail;
  error: string;
  look: AnatomyLook;
  measured: AnatomyMeasured;
  status: string;
  twin: Bundle;
}

export interface AttentionExplorerTraits {
  effect: AttentionEffect;
  error: string;
  head: AttentionHead;
  status: string;
  thumbs: DataView;
  thumbs_info: AttentionThumbs;
  tile: DataView;
  tile2: DataView;
  tile2_info: AttentionTile;
  tile_info: AttentionTile;
  tokens: AttentionTokens;
  twin: Bundle;
  view: AttentionView;
}

export interface LensViewTraits {
  cells: DataView;
  error: string;
  head: LensHead;
  place: LensPlace;
  twin: Bundle;
  window: LensWindow;
}

export interface RoutingExplorerTraits {
  cost: RoutingCost;
  effect: RoutingEffect;
  error: string;
  expert: RoutingExpert;
  head: RoutingHead;
  load: RoutingLoad;
  paths: RoutingPaths;
  routes: DataView;
  routes_info: RoutingRoutes;
  status: string;
  tokens: RoutingTokens;
  twin: Bundle;
  view: RoutingView;
}

export interface TrainingPanelTraits {
  curves: TrainingCurves;
  error: string;
  head: TrainingHead;
  recipe: TrainingRecipe;
  samples: TrainingSamples;
  twin: Bundle;
}
